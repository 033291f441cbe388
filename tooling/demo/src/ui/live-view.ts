import type { Colors } from './colors.js'
import { EventLines } from './event-lines.js'
import { draw } from './frame.js'
import type { Picture, View } from './view.js'

const HIDE_CURSOR = '\x1b[?25l'
const SHOW_CURSOR = '\x1b[?25h'
const CLEAR_TO_END = '\x1b[J'

/** A table and a bar at the bottom that are drawn anew all the time; events scroll away above them. */
export class LiveView implements View {
  readonly #stream: NodeJS.WriteStream
  readonly #colors: Colors
  readonly #lines: EventLines
  #frame: readonly string[] = []
  readonly #showCursor = (): void => void this.#stream.write(SHOW_CURSOR)

  constructor(stream: NodeJS.WriteStream, colors: Colors) {
    this.#stream = stream
    this.#colors = colors
    this.#lines = new EventLines(colors)
    stream.write(HIDE_CURSOR)
    process.once('exit', this.#showCursor)
  }

  event(text: string): void {
    this.#scroll(this.#lines.event(text))
  }

  alarm(text: string): void {
    this.#scroll(this.#lines.alarm(text))
  }

  good(text: string): void {
    this.#scroll(this.#lines.good(text))
  }

  progress(): void {
    // The bar shows it.
  }

  show(picture: Picture): void {
    const { columns, rows } = this.#stream
    // A terminal that doesn't tell its size says 0.
    this.#redraw('', draw(picture, { columns: columns || 80, rows: rows || 24, colors: this.#colors }))
  }

  close(): void {
    this.#frame = []
    this.#showCursor()
    process.off('exit', this.#showCursor)
  }

  #scroll(line: string): void {
    this.#redraw(`${line}\n`, this.#frame)
  }

  /** One write, so that nothing flickers. */
  #redraw(above: string, frame: readonly string[]): void {
    const up = this.#frame.length > 0 ? `\x1b[${this.#frame.length}A\r` : ''
    const below = frame.map((line) => `${line}\n`).join('')
    this.#stream.write(`${up}${CLEAR_TO_END}${above}${below}`)
    this.#frame = frame
  }
}

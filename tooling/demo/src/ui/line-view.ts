import type { Colors } from './colors.js'
import { EventLines } from './event-lines.js'
import type { View } from './view.js'

/** Plain lines, for logs and pipes. */
export class LineView implements View {
  readonly #stream: NodeJS.WriteStream
  readonly #lines: EventLines

  constructor(stream: NodeJS.WriteStream, colors: Colors) {
    this.#stream = stream
    this.#lines = new EventLines(colors)
  }

  event(text: string): void {
    this.#write(this.#lines.event(text))
  }

  alarm(text: string): void {
    this.#write(this.#lines.alarm(text))
  }

  good(text: string): void {
    this.#write(this.#lines.good(text))
  }

  progress(text: string): void {
    this.event(text)
  }

  show(): void {
    // What moves can't be shown here; every event has its line.
  }

  close(): void {
    // Nothing is left open.
  }

  #write(line: string): void {
    this.#stream.write(`${line}\n`)
  }
}

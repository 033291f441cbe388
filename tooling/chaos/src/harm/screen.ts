/** Tells what happens: lines of events, and below them, on a terminal, a line that moves. */
export class Screen {
  readonly #stream: NodeJS.WriteStream
  readonly #timer: NodeJS.Timeout
  readonly #startedAt = performance.now()
  /** Answers the line that moves. */
  status: (() => string) | undefined

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
    this.#timer = setInterval(() => this.#show(), stream.isTTY ? 100 : 5_000).unref()
  }

  event(text: string): void {
    if (this.#stream.isTTY) this.#stream.write('\r\x1b[K')
    this.#stream.write(`${this.#line(text)}\n`)
    if (this.#stream.isTTY) this.#show()
  }

  close(): void {
    clearInterval(this.#timer)
    if (this.#stream.isTTY) this.#stream.write('\r\x1b[K')
  }

  #show(): void {
    if (this.status === undefined) return
    const line = this.#line(this.status())
    this.#stream.write(
      this.#stream.isTTY ? `\r\x1b[K${line.slice(0, this.#stream.columns - 1)}` : `${line}\n`,
    )
  }

  #line(text: string): string {
    return `${((performance.now() - this.#startedAt) / 1_000).toFixed(1).padStart(6)} s  ${text}`
  }
}

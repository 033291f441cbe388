/** Tells what happens: lines of events, and below them, on a terminal, a line that moves. */
export class Screen {
  #stream
  #status
  #timer
  #startedAt = performance.now()

  /** @param status answers the line that moves */
  constructor(stream, status) {
    this.#stream = stream
    this.#status = status
    this.#timer = setInterval(() => this.#show(), stream.isTTY ? 100 : 5_000)
    this.#timer.unref()
  }

  event(text) {
    if (this.#stream.isTTY) this.#stream.write('\r\x1b[K')
    this.#stream.write(`${this.#line(text)}\n`)
    if (this.#stream.isTTY) this.#show()
  }

  close() {
    clearInterval(this.#timer)
    if (this.#stream.isTTY) this.#stream.write('\r\x1b[K')
  }

  #show() {
    const line = this.#line(this.#status())
    this.#stream.write(
      this.#stream.isTTY ? `\r\x1b[K${line.slice(0, this.#stream.columns - 1)}` : `${line}\n`,
    )
  }

  #line(text) {
    return `${((performance.now() - this.#startedAt) / 1_000).toFixed(1).padStart(6)} s  ${text}`
  }
}

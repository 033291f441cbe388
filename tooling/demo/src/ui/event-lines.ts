import type { Colors } from './colors.js'

/** One line per event, with the seconds since the start. */
export class EventLines {
  readonly #colors: Colors
  readonly #startedAt = performance.now()

  constructor(colors: Colors) {
    this.#colors = colors
  }

  event(text: string): string {
    const since = ((performance.now() - this.#startedAt) / 1_000).toFixed(1)
    return `${this.#colors.dim(`${since.padStart(5)} s`)}  ${text}`
  }

  alarm(text: string): string {
    return this.event(this.#colors.red(this.#colors.bold(text)))
  }

  good(text: string): string {
    return this.event(this.#colors.green(text))
  }
}

export interface Order {
  /** Counts the orders. */
  readonly number: number
  /** Which of those that are in flight at once it is. */
  readonly lane: number
  /** Aborts when there is no hope that it will ever be answered. */
  readonly giveUp: AbortSignal
}

/** Keeps jobs in flight. */
export class Load {
  readonly width: number
  readonly #answer: (order: Order) => Promise<boolean>
  ordered = 0
  answered = 0

  /** @param answer orders a job and waits for its answer; false when it gave up waiting */
  constructor(width: number, answer: (order: Order) => Promise<boolean>) {
    this.width = width
    this.#answer = answer
  }

  get status(): string {
    const { ordered, answered } = this
    return `${ordered} ordered, ${answered} answered, ${ordered - answered} in flight`
  }

  /** Orders until `enough` aborts, and then waits for what is in flight. */
  async run(enough: AbortSignal, giveUp: AbortSignal): Promise<void> {
    const fill = async (lane: number): Promise<void> => {
      while (!enough.aborted) {
        this.ordered += 1
        if (await this.#answer({ number: this.ordered, lane, giveUp })) this.answered += 1
      }
    }
    await Promise.all(Array.from({ length: this.width }, (_, lane) => fill(lane)))
  }
}

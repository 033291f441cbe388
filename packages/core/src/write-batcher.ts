interface Waiting<T, R> {
  readonly item: T
  resolve(result: R): void
  reject(error: unknown): void
}

/**
 * Coalesces concurrent writes: while one write is in flight the next ones gather and go out together, so that a lone
 * call is never delayed and a thousand callers share a few statements.
 */
export class WriteBatcher<T, R> {
  readonly #write: (items: readonly T[]) => Promise<readonly R[]>
  readonly #maxItems: number
  readonly #conflictKey: (item: T) => string | null
  #waiting: Waiting<T, R>[] = []
  #running = false

  /**
   * @param write must answer one result per item, in order
   * @param conflictKey items with the same key never share a statement; null conflicts with nothing
   */
  constructor(
    maxItems: number,
    write: (items: readonly T[]) => Promise<readonly R[]>,
    conflictKey: (item: T) => string | null = () => null,
  ) {
    this.#maxItems = maxItems
    this.#write = write
    this.#conflictKey = conflictKey
  }

  add(item: T): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (!this.#running) void this.#drain()
    })
  }

  async #drain(): Promise<void> {
    this.#running = true
    while (this.#waiting.length > 0) await this.#flush(this.#take())
    this.#running = false
  }

  #take(): Waiting<T, R>[] {
    const taken: Waiting<T, R>[] = []
    const left: Waiting<T, R>[] = []
    const keys = new Set<string>()
    for (const waiting of this.#waiting) {
      const key = this.#conflictKey(waiting.item)
      if (taken.length >= this.#maxItems || (key !== null && keys.has(key))) {
        left.push(waiting)
        continue
      }
      if (key !== null) keys.add(key)
      taken.push(waiting)
    }
    this.#waiting = left
    return taken
  }

  async #flush(batch: readonly Waiting<T, R>[]): Promise<void> {
    try {
      const results = await this.#write(batch.map(({ item }) => item))
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as R)
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }
}

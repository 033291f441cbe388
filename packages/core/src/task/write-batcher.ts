interface Waiting<T, R> {
  readonly item: T
  resolve(result: R): void
  reject(error: unknown): void
}

export interface WriteBatcherOptions<T, R> {
  /** Most items in one write. */
  readonly maxItems: number
  /** Most weight in one write, unless a single item has more. @default Infinity */
  maxWeight?(): number
  weigh?(item: T): number
  /** Must answer one result per item, in order. */
  write(items: readonly T[]): Promise<readonly R[]>
  /** Items with the same key never share a write; null conflicts with nothing. */
  conflictKey?(item: T): string | null
}

/**
 * Coalesces concurrent writes: while one write is in flight the next ones gather and go out together, so that a lone
 * call is never delayed and a thousand callers share a few statements.
 */
export class WriteBatcher<T, R> {
  readonly #options: Required<WriteBatcherOptions<T, R>>
  #waiting: Waiting<T, R>[] = []
  readonly #alone: (() => Promise<void>)[] = []
  #running = false

  constructor(options: WriteBatcherOptions<T, R>) {
    this.#options = {
      maxWeight: () => Number.POSITIVE_INFINITY,
      weigh: () => 0,
      conflictKey: () => null,
      ...options,
    }
  }

  add(item: T): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (!this.#running) void this.#drain()
    })
  }

  /** Runs `work` between two writes, so that none is under way meanwhile. */
  alone<A>(work: () => Promise<A>): Promise<A> {
    return new Promise<A>((resolve, reject) => {
      this.#alone.push(() => work().then(resolve, reject))
      if (!this.#running) void this.#drain()
    })
  }

  async #drain(): Promise<void> {
    this.#running = true
    while (this.#alone.length > 0 || this.#waiting.length > 0) {
      const work = this.#alone.shift()
      await (work === undefined ? this.#flush(this.#take()) : work())
    }
    this.#running = false
  }

  #take(): Waiting<T, R>[] {
    const taken: Waiting<T, R>[] = []
    const left: Waiting<T, R>[] = []
    const keys = new Set<string>()
    const { maxItems, maxWeight, weigh, conflictKey } = this.#options
    let weight = 0
    for (const waiting of this.#waiting) {
      const key = conflictKey(waiting.item)
      const heavier = weight + weigh(waiting.item)
      const full = taken.length >= maxItems || (taken.length > 0 && heavier > maxWeight())
      if (full || (key !== null && keys.has(key))) {
        left.push(waiting)
        continue
      }
      weight = heavier
      if (key !== null) keys.add(key)
      taken.push(waiting)
    }
    this.#waiting = left
    return taken
  }

  async #flush(batch: readonly Waiting<T, R>[]): Promise<void> {
    try {
      const results = await this.#options.write(batch.map(({ item }) => item))
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as R)
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }
}

import { sleep } from './clock.js'
import type { InFlight } from './in-flight.js'
import { type Fate, fatesOf } from './store/fates.js'
import type { Store } from './store/store.js'
import type { Handle } from './task-handle.js'
import { WriteBatcher } from './write-batcher.js'

/** Milliseconds between questions what became of a transaction: at first, and at most. */
export const ASK = { first: 5, most: 250 } as const

/** A task that a transaction of the caller's ends, if it commits. */
export interface PendingEnd {
  readonly handle: Handle
  readonly entry: InFlight
}

export interface PendingEndsParts {
  readonly store: Store
  readonly processId: string
  readonly batchSize: number
  /** It is known what became of it. */
  decided(ending: PendingEnd, fate: Exclude<Fate, 'open'>): void
}

/** The tasks of an incarnation that were completed in transactions of the caller's whose outcome nobody knows yet. */
export class PendingEnds {
  readonly #ends = new Map<string, PendingEnd>()
  readonly #questions: WriteBatcher<PendingEnd, void>

  constructor({ store, processId, batchSize, decided }: PendingEndsParts) {
    this.#questions = new WriteBatcher({
      maxItems: batchSize,
      write: async (asked) => {
        const fates = await fatesOf(
          store,
          processId,
          asked.map(({ handle }) => handle),
        )
        for (const ending of asked) {
          const fate = fates.get(ending.handle.id)!
          // One that was completed once more meanwhile is another question, which this answer is not for.
          const isThis = this.#ends.get(ending.handle.id) === ending
          if (isThis && fate !== 'open') decided(ending, fate)
        }
        return asked.map(() => undefined)
      },
    })
  }

  get size(): number {
    return this.#ends.size
  }

  get(taskId: string): PendingEnd | undefined {
    return this.#ends.get(taskId)
  }

  values(): PendingEnd[] {
    return [...this.#ends.values()]
  }

  set(ending: PendingEnd): void {
    this.#ends.set(ending.handle.id, ending)
  }

  delete(taskId: string): void {
    this.#ends.delete(taskId)
  }

  /** Asks the database about one of them, together with whatever else is asked just now. */
  async ask(taskId: string): Promise<void> {
    const ending = this.#ends.get(taskId)
    if (ending !== undefined) await this.#questions.add(ending)
  }

  async askAll(): Promise<void> {
    await Promise.all(this.values().map((ending) => this.#questions.add(ending)))
  }

  /** Asks until all are decided, or `over` aborts. */
  async decide(over: AbortSignal): Promise<void> {
    for (
      let pause: number = ASK.first;
      this.size > 0 && !over.aborted;
      pause = Math.min(2 * pause, ASK.most)
    ) {
      await this.askAll().catch(() => undefined) // The database is away: it is asked again.
      if (this.size > 0) await sleep(pause, over)
    }
  }
}

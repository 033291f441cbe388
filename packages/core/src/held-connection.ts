import type { Kysely } from 'kysely'

/**
 * A connection taken out of the pool for as long as it is held. Kysely gives one out for the time of a callback only, so
 * the callback waits.
 */
export class HeldConnection {
  /** Rejects when there is none to be had. May take for ever: pools wait. */
  readonly acquired: Promise<Kysely<unknown>>
  /** Whether it is had already. */
  had = false
  #end!: () => void
  #fail!: (error: unknown) => void
  readonly #ended: Promise<void>
  #running: Promise<unknown> = Promise.resolve()

  constructor(db: Kysely<unknown>) {
    this.#ended = new Promise((resolve, reject) => {
      this.#end = resolve
      this.#fail = reject
    })
    this.#ended.catch(() => undefined) // Also when it fails before there is a callback to wait.
    this.acquired = new Promise((resolve, reject) => {
      const held = db.connection().execute(async (connection) => {
        this.had = true
        resolve(connection)
        await this.#ended
      })
      held.catch(reject)
    })
    this.acquired.catch(() => undefined)
  }

  /** Runs `work` on it, once it is had. */
  async run<T>(work: (connection: Kysely<unknown>) => Promise<T>): Promise<T> {
    const result = work(await this.acquired)
    this.#running = result.catch(() => undefined)
    return result
  }

  /** Gives it back, also when it is yet to be had; not before its last answer, which the next user would wait for. */
  release(): void {
    void this.#running.then(() => this.#end())
  }

  /** Gives it back broken, so that a driver that looks may discard it. */
  discard(error: unknown): void {
    void this.#running.then(() => this.#fail(error))
  }
}

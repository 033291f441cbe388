import { setTimeout as delay } from 'node:timers/promises'
import type { Transaction } from 'kysely'
import { monotonicNow } from './clock.js'
import { ConfigError, DatabaseError, TaskLostError } from './errors.js'
import { messageOf } from './events.js'
import { fullTaskId } from './identity.js'
import type { InFlight } from './in-flight.js'
import type { EndSettlement, Incarnation } from './incarnation.js'
import { ASK } from './pending-ends.js'
import type { Fate } from './store/fates.js'
import type { NewTask } from './store/new-tasks.js'
import { joinTransaction, type Store } from './store/store.js'
import { deleteTasks, giveBackTask, givenBackOwner } from './store/tasks.js'

// biome-ignore lint/suspicious/noExplicitAny: a transaction on any schema of the user's must fit
export type AnyTransaction = Transaction<any>

export interface CompleteOptions {
  /** Complete inside your own Kysely transaction, so that your writes and the end of the task are one. */
  readonly trx?: AnyTransaction
}

export interface ReleaseOptions {
  /** Replaces the payload. Plain JSON; may be up to 16 KiB larger than `maxPayloadBytes`, for what is added. */
  readonly payload?: unknown
}

/** A registered task in this process's hands. */
export interface TaskHandle {
  readonly id: string
  /** `<process id>/<task id>` */
  readonly fullId: string
  readonly queue: string
  readonly jobRef: string | null
  /**
   * Aborts when the work should end: with `LeaseExpiredError` when others may soon recover this task, with
   * `TaskLostError` when this process was declared dead, with `StoppedError` when the drain time of `stop()` is over,
   * with `TaskOverdueError` after its `maxRuntime`.
   */
  readonly signal: AbortSignal
  /** False when it could not be registered and runs all the same (`onRegisterFailure`): a crash loses it. */
  readonly protected: boolean
  /**
   * False once complete or release was called, whatever came of it; true again when the transaction that it was completed
   * in is known to have rolled back.
   */
  readonly open: boolean
  /**
   * Ends the task. With `trx` the end commits or rolls back together with the caller's own writes; after a rollback
   * the task is in flight still, so complete or release it again. Inside `run()`, and in the handlers of adapters, what
   * your work came to is what counts then: work that throws has failed, work that returns is completed.
   *
   * @throws TaskLostError when the task is no longer this process's: discard the result
   * @throws DatabaseError when the database could not be reached; without `trx` the end is then retried with every
   * heartbeat until it is certain
   */
  complete(options?: CompleteOptions): Promise<void>
  /**
   * Gives the task back: its adapter recovers it at once. Counts as no crash. With `payload` the adapter gets that
   * instead of what was registered, for instance to hear why.
   *
   * @throws TaskLostError, DatabaseError (the release is then retried with every heartbeat)
   * @throws PayloadError, PayloadTooLargeError, NotProtectedError
   */
  release(options?: ReleaseOptions): Promise<void>
  /**
   * Resolves when this process is known to be alive still; waits for the next successful heartbeat where the last one
   * failed or the lease has run out meanwhile. Ask before an effect that must not happen twice.
   *
   * @throws TaskLostError when this process was declared dead
   */
  confirm(): Promise<void>
}

/**
 * What became of a task when its handler has settled. `open`: it is this process's still to end. `ended`: it was completed
 * or released. `lost`: it is not this process's any more, so that nothing of what was done counts.
 */
export type Settled = 'open' | 'ended' | 'lost'

export interface HandleHooks {
  readonly store: Store
  readonly orphanThreshold: number
  /** A payload as it is stored. Throws what `release` throws for a wrong one. */
  storePayload(payload: unknown): string
  onCompleted(handle: TaskHandle): void
  /** The rows given back wait under this owner. */
  onGivenBack(owner: string): Promise<void>
  /** For a lease nobody could say what became of the transaction that a task was completed in. */
  onUndecided(handle: Handle, error: unknown): void
}

/** `maybe…`: such a write was sent and its outcome is unknown. `pending`: it is up to the caller's transaction. */
type State = 'open' | 'maybe-complete' | 'maybe-release' | 'pending' | 'ended'

export class Handle implements TaskHandle {
  readonly id: string
  readonly queue: string
  readonly jobRef: string | null
  readonly signal: AbortSignal
  readonly protected = true
  readonly #entry: InFlight
  readonly #incarnation: Incarnation
  readonly #hooks: HandleHooks
  #state: State = 'open'
  /** Ended by `giveUp`, not by its caller: who completes it afterwards must hear that it is lost. */
  #givenUp = false
  /** Ended, but not by anything that this process did. */
  #isLost = false
  /** Complete and release of one task never overtake each other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(task: NewTask, entry: InFlight, incarnation: Incarnation, hooks: HandleHooks) {
    this.id = task.id
    this.queue = task.queue
    this.jobRef = task.jobRef
    this.signal = entry.controller.signal
    this.#entry = entry
    this.#incarnation = incarnation
    this.#hooks = hooks
  }

  get fullId(): string {
    return fullTaskId(this.#incarnation.processId, this.id)
  }

  /** Its caller has not ended this task. */
  get open(): boolean {
    return this.#state === 'open' || this.#givenUp
  }

  /** Nobody can end it any more, nor is its end up to a transaction. */
  get ended(): boolean {
    return !this.open && this.#state !== 'pending'
  }

  /** Looks once what became of the transaction that this was completed in, if it was. */
  async look(): Promise<void> {
    await this.#incarnation.pending.ask(this.id).catch(() => undefined) // The database is away: nobody knows.
  }

  /** See `TaskMonitor.settle`. */
  async settle(): Promise<Settled> {
    await this.#last
    await this.#decide()
    if (this.#state === 'open') return this.#incarnation.ended ? 'lost' : 'open'
    return this.#isLost || this.#givenUp ? 'lost' : 'ended'
  }

  /**
   * Waits until it is known what became of the transaction that this was completed in, also after the end of this life:
   * what has committed is not lost.
   */
  async #decide(): Promise<void> {
    const late = monotonicNow() + this.#hooks.orphanThreshold
    let toldUndecided = false
    for (let pause: number = ASK.first; this.#state === 'pending'; pause = Math.min(2 * pause, ASK.most)) {
      let failure: unknown
      await this.#incarnation.pending.ask(this.id).catch((error) => {
        failure = error // The database is away: it is asked again.
      })
      if (this.#state !== 'pending') return
      if (monotonicNow() > late) {
        // Nobody keeps the database for a monitor that has stopped.
        if (failure !== undefined && this.#incarnation.ended) return this.#loseUndecided()
        if (!toldUndecided) this.#hooks.onUndecided(this, failure)
        toldUndecided = true
      }
      await delay(pause)
    }
  }

  #loseUndecided(): void {
    this.#incarnation.pending.delete(this.id)
    this.decided('lost')
  }

  /** It is known what became of the transaction that this was completed in. */
  decided(fate: Exclude<Fate, 'open'>): void {
    if (this.#state !== 'pending') return
    this.#state = fate === 'rolled-back' ? 'open' : 'ended'
    this.#isLost = fate === 'lost'
  }

  complete({ trx }: CompleteOptions = {}): Promise<void> {
    if (trx !== undefined && trx.isTransaction !== true) {
      return Promise.reject(new ConfigError('complete({ trx }) takes a Kysely transaction; this is none.'))
    }
    return this.#serially(() => (trx === undefined ? this.#complete() : this.#completeIn(trx)))
  }

  async release({ payload }: ReleaseOptions = {}): Promise<void> {
    const text = payload === undefined ? undefined : this.#hooks.storePayload(payload)
    await this.#serially(() => this.#giveBack('release', text))
  }

  /** Ends the task because it has run for too long: it is recovered as after a crash. */
  async giveUp(): Promise<void> {
    await this.#last
    await this.#decide()
    await this.#serially(async () => {
      if (this.#state !== 'open') return
      this.#givenUp = true
      await this.#giveBack('overdue')
    })
  }

  confirm(): Promise<void> {
    return this.#incarnation.confirm()
  }

  async #giveBack(cause: 'release' | 'overdue', payload?: string): Promise<void> {
    const { processId } = this.#incarnation
    await this.#write({ kind: 'release', cause, payload }, () =>
      giveBackTask(this.#hooks.store, processId, this.id, cause, payload),
    )
    await this.#hooks.onGivenBack(givenBackOwner(processId, cause))
  }

  async #complete(): Promise<void> {
    await this.#write({ kind: 'complete' }, () => this.#incarnation.completions.add(this.id))
    this.#hooks.onCompleted(this)
  }

  async #completeIn(trx: AnyTransaction): Promise<void> {
    if (this.#state === 'ended') throw this.lost()
    const isDoubtful = this.#state.startsWith('maybe')
    const store = joinTransaction(this.#hooks.store, trx)
    const deleted = await deleteTasks(store, this.#incarnation.processId, [this.id])
    // Also where nothing was found: the row may be there all the same, for others than this transaction, which sees an
    // older state or has deleted it before.
    if (!isDoubtful) {
      this.#state = 'pending'
      this.#incarnation.awaitCommit({ handle: this, entry: this.#entry })
    }
    if (!deleted.has(this.id)) throw this.lost()
    this.#hooks.onCompleted(this)
  }

  async #write(settlement: EndSettlement, write: () => Promise<boolean>): Promise<void> {
    // A statement that waits for the caller's transaction would keep others waiting.
    await this.#decide()
    if (this.#state === 'ended') throw this.lost()
    let done: boolean
    try {
      done = await write()
    } catch (cause) {
      this.#state = `maybe-${settlement.kind}`
      this.#incarnation.forget(this.id, settlement)
      throw new DatabaseError(
        `Could not ${settlement.kind} task ${this.fullId}: ${messageOf(cause)}. It is retried with every heartbeat.`,
        { cause },
      )
    }
    // The row is gone after a write like this one had an unknown outcome: then it had been done, provided that this
    // process was not declared dead meanwhile.
    const doneBefore = !done && this.#state === `maybe-${settlement.kind}`
    if (doneBefore) await this.#incarnation.confirm()
    const lost = !done && !doneBefore
    this.#state = 'ended'
    this.#isLost = lost
    this.#incarnation.forget(this.id)
    if (lost) throw this.lost()
  }

  lost(): TaskLostError {
    return new TaskLostError(
      `Task ${this.fullId} is no longer this process's: it was completed, released or recovered before. ` +
        'Discard the result.',
    )
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#last.then(work)
    this.#last = next.catch(() => undefined) // The caller of `work` has the error.
    return next
  }
}

import { ConfigError, DatabaseError, TaskLostError } from '../errors.js'
import { messageOf } from '../events.js'
import { fullTaskId } from '../identity.js'
import type { Fate } from '../store/fates.js'
import type { Inserted, NewTask } from '../store/new-tasks.js'
import { givenBackOwner } from '../store/tasks.js'
import type { Running } from './running.js'
import type { Ended, EndWrite, Owed, TaskState } from './state.js'
import type {
  AnyTransaction,
  CompleteOptions,
  ReleaseOptions,
  Settled,
  SettleOptions,
  TaskHandle,
} from './task-handle.js'
import type { TaskWrites } from './task-writes.js'

/** The life of the process that a task belongs to. */
export interface TaskLife {
  readonly processId: string
  /** Nobody of this life may end a task any more but by the database's leave. */
  readonly ended: boolean
  readonly writes: TaskWrites
  /** See `TaskHandle.confirm`. */
  confirm(): Promise<void>
  /** Tasks are others' by now, or about to be. */
  lost(): TaskLostError
  /** The task has come from one state into another; from none when it is new. */
  moved(task: Task, from: TaskState | undefined): void
}

export interface TaskHooks {
  /** A payload as it is stored. Throws what `release` throws for a wrong one. */
  storePayload(payload: unknown): string
  onCompleted(task: Task): void
  /** The rows given back wait under this owner. */
  onGivenBack(owner: string): Promise<void>
  /** For a lease nobody could say what became of the transaction that a task was completed in. */
  onUndecided(task: Task, failure: unknown): void
}

/**
 * A task of this process: one object with one state, which every index follows (`OwnTasks`). Each of its writes names its
 * nonce, so that none touches another life of the same id or job.
 */
export class Task implements TaskHandle {
  readonly nonce: number
  readonly id: string
  readonly queue: string
  readonly jobRef: string | null
  readonly signal: AbortSignal
  readonly protected = true
  readonly running: Running
  readonly #row: NewTask
  readonly #life: TaskLife
  readonly #hooks: TaskHooks
  #state: TaskState = 'writing'
  /** What is to be made certain of it: while it is doubtful, and while such a write is repeated. */
  #owed: Owed | undefined
  #how: Ended | undefined
  #marks = 0
  /** The connection of the transaction that has ended it, unless that rolled back since. */
  #markedOn: WeakRef<object> | undefined
  /** Complete and release of one task never overtake each other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(row: NewTask, running: Running, life: TaskLife, hooks: TaskHooks) {
    this.nonce = row.nonce
    this.id = row.id
    this.queue = row.queue
    this.jobRef = row.jobRef
    this.signal = running.controller.signal
    this.running = running
    this.#row = row
    this.#life = life
    this.#hooks = hooks
    life.moved(this, undefined)
  }

  get fullId(): string {
    return fullTaskId(this.#life.processId, this.id)
  }

  get state(): TaskState {
    return this.#state
  }

  get open(): boolean {
    return this.#state !== 'ended'
  }

  /** How often it was completed in a transaction. */
  get marks(): number {
    return this.#marks
  }

  /** What is owed to the database of a doubtful task. */
  get owed(): Owed | undefined {
    return this.#state === 'doubtful' ? this.#owed : undefined
  }

  /** Its INSERT may have happened, or happen yet. */
  get isUncertain(): boolean {
    return this.owed?.kind === 'insert'
  }

  /**
   * Writes its row: from then on it is protected. Any answer but `written` ends it; when nobody knows it is doubtful. While
   * somebody has its job's row locked it is tried again after each `wait`, which throws when it is to be tried no more.
   */
  async write(isolated: boolean, wait: () => Promise<void>): Promise<Exclude<Inserted, 'busy'> | Error> {
    for (;;) {
      const answer = await this.#insert(isolated)
      if (answer === 'busy') {
        await wait().catch((error) => {
          this.#end('refused')
          throw error
        })
        continue
      }
      if (answer === 'written') this.#to('held')
      else this.#end('refused')
      return answer
    }
  }

  async #insert(isolated: boolean): Promise<Inserted | Error> {
    try {
      return await this.#life.writes.insert(this.#row, isolated)
    } catch (cause) {
      this.#owe({ kind: 'insert' })
      throw new DatabaseError(`Could not register task ${this.id}: ${messageOf(cause)}`, { cause })
    }
  }

  begin(): void {
    if (this.#state === 'held') this.#to('begun')
  }

  complete({ trx }: CompleteOptions = {}): Promise<void> {
    if (trx !== undefined && trx.isTransaction !== true) {
      return Promise.reject(new ConfigError('complete({ trx }) takes a Kysely transaction; this is none.'))
    }
    return this.#serially(() => (trx === undefined ? this.#complete() : this.#completeIn(trx)))
  }

  async release({ payload }: ReleaseOptions = {}): Promise<void> {
    const text = payload === undefined ? undefined : this.#hooks.storePayload(payload)
    await this.#serially(() => this.#giveBack({ kind: 'release', cause: 'release', payload: text }))
  }

  /** Ends the task because it has run for too long: it is recovered as after a crash. */
  async giveUp(): Promise<void> {
    // Not in line: what comes next in its transaction would wait for it, and it for that.
    await this.#last
    await this.#decideForLong()
    await this.#serially(async () => {
      if (this.#state === 'begun') await this.#giveBack({ kind: 'release', cause: 'overdue' })
    })
  }

  confirm(): Promise<void> {
    return this.#life.confirm()
  }

  /** See `Monitor.settle`. */
  async settle({ soon = false }: SettleOptions = {}): Promise<Settled> {
    await this.#last
    await (soon ? this.#decideSoon() : this.#decideForLong())
    if (this.#state !== 'ended') return this.#settledOpen()
    return this.#how === 'completed' || this.#how === 'released' ? this.#how : 'lost'
  }

  /** Looks once what became of the transaction that it was completed in, if it was. Answers whether it runs still. */
  async runs(): Promise<boolean> {
    if (this.#state === 'undecided') await this.#life.writes.ask(this).catch(() => undefined) // Nobody knows.
    return this.#state === 'begun' || this.#state === 'undecided'
  }

  /** It is known what became of the transaction that it was completed in. */
  decided(fate: Fate): void {
    if (this.#state !== 'undecided' || fate === 'open') return
    if (fate === 'rolled-back') this.#to('begun')
    else this.#end(fate === 'committed' ? 'completed' : 'lost')
  }

  /** What it owed the database is certain now. */
  certain(how: Ended): void {
    if (this.#state === 'doubtful') this.#end(how)
  }

  lost(): TaskLostError {
    return new TaskLostError(
      `Task ${this.fullId} is no longer this process's: it was completed, released or recovered before. ` +
        'Discard the result.',
    )
  }

  /** One that is doubtful has been ended by its caller: nobody else is to end it. */
  #settledOpen(): Settled {
    if (this.#life.ended) return 'lost'
    if (this.owed?.kind === 'release') return this.owed.cause === 'release' ? 'released' : 'lost'
    if (this.owed !== undefined) return 'completed'
    return 'open'
  }

  /**
   * Waits until it is known what became of the transaction that it was completed in, also after the end of this life: what
   * has committed is not lost. Each time that takes longer than a lease, `late` is told what failed, if anything did.
   */
  async #decide(late: (failure: unknown) => void): Promise<void> {
    if (this.#state === 'undecided') await this.#life.writes.decide(this, late)
  }

  /** For whoever has all the time that it takes. */
  #decideForLong(): Promise<void> {
    let told = false
    return this.#decide((failure) => {
      // Nobody keeps the database for a monitor that has stopped.
      if (failure !== undefined && this.#life.ended) this.decided('lost')
      else if (!told) this.#hooks.onUndecided(this, failure)
      told = true
    })
  }

  /** For whoever may be what that transaction waits for. @throws DatabaseError, ConfigError after a lease */
  #decideSoon(): Promise<void> {
    return this.#decide((failure) => {
      if (failure !== undefined) {
        const message = `Could not look up task ${this.fullId}: ${messageOf(failure)}`
        throw new DatabaseError(message, { cause: failure })
      }
      throw new ConfigError(
        `Task ${this.fullId} was completed in a transaction that is open still: commit or roll back before you end it ` +
          'in another way.',
      )
    })
  }

  async #complete(): Promise<void> {
    await this.#write({ kind: 'complete' }, () => this.#life.writes.delete(this.nonce))
  }

  async #giveBack(write: Extract<EndWrite, { kind: 'release' }>): Promise<void> {
    await this.#write(write, () => this.#life.writes.giveBack(this.nonce, write))
    await this.#hooks.onGivenBack(givenBackOwner(this.#life.processId, write.cause))
  }

  async #completeIn(trx: AnyTransaction): Promise<void> {
    const connection = await connectionOf(trx)
    // The mark would wait in the caller's transaction for the one that has the row.
    if (this.#markedOn?.deref() !== connection) await this.#decideSoon()
    // Nor may what finds no row be sent there: MySQL would lock the gap where others' rows go.
    if (this.#state === 'ended' || this.#life.ended) throw this.lost()
    if (this.owed !== undefined) {
      throw new DatabaseError(
        `Could not complete task ${this.fullId}: an earlier ${this.owed.kind} of it got no answer, and is made certain ` +
          'with every heartbeat. Try again without a transaction.',
      )
    }
    let isMarked: boolean
    try {
      isMarked = await this.#life.writes.mark(this.nonce, this.#marks + 1, trx)
    } finally {
      // Whatever came of it: the answer may be lost, or the row be there for others than this transaction. An earlier one
      // may be known to have committed by now.
      this.#marks += 1
      if (this.open) this.#to('undecided')
    }
    if (isMarked) this.#markedOn = new WeakRef(connection)
    else await this.#unseen(connection)
  }

  /**
   * The caller's transaction sees no such row, or an ended one, or is over: a connection of our own says why. Nobody else
   * can hold the row of a task that this very transaction has ended before.
   */
  async #unseen(connection: object): Promise<void> {
    if (this.#state === 'undecided') {
      await this.#life.writes.lookUp(this).catch((cause) => {
        throw new DatabaseError(`Could not look up task ${this.fullId}: ${messageOf(cause)}`, { cause })
      })
    }
    if (!this.open) throw this.lost()
    if (this.#state === 'undecided' && this.#markedOn?.deref() === connection) return
    throw new ConfigError(
      `Task ${this.fullId} can't be completed in this transaction: that has been rolled back meanwhile, or the task was ` +
        "completed in one that is open still, or this one's snapshot is older than the task. Await complete() before the " +
        'transaction ends, complete once, and register before the transaction reads, or use read committed.',
    )
  }

  async #write(write: EndWrite, send: () => Promise<boolean>): Promise<void> {
    // A statement that waits for the caller's transaction would keep others waiting.
    await this.#decideSoon()
    if (this.#state === 'ended') throw this.lost()
    const before = this.#owed
    this.#to('ending')
    let done: boolean
    try {
      done = await send()
    } catch (cause) {
      this.#owe(write)
      throw new DatabaseError(
        `Could not ${write.kind} task ${this.fullId}: ${messageOf(cause)}. It is retried with every heartbeat.`,
        { cause },
      )
    }
    if (done || (await this.#wasDone(before, write))) return this.#end(endOf(write))
    this.#end('lost')
    throw this.lost()
  }

  /**
   * The row is gone after a write like this one had an unknown outcome: then it had been done, provided that this process
   * was not declared dead meanwhile.
   */
  async #wasDone(before: Owed | undefined, write: EndWrite): Promise<boolean> {
    if (before?.kind !== write.kind) return false
    try {
      await this.#life.confirm()
      return true
    } catch (error) {
      this.#end('lost')
      throw error
    }
  }

  #owe(owed: Owed): void {
    this.#owed = owed
    this.#to('doubtful')
    this.running.end()
  }

  #end(how: Ended): void {
    if (this.#state === 'ended') return
    this.#how = how
    this.#to('ended')
    this.running.end()
    if (how === 'completed') this.#hooks.onCompleted(this)
  }

  #to(state: TaskState): void {
    const from = this.#state
    this.#state = state
    this.#life.moved(this, from)
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#last.then(work)
    this.#last = next.catch(() => undefined) // The caller of `work` has the error.
    return next
  }
}

/** A transaction, its savepoints and what plugins make of it are objects of their own, on one connection. */
const connectionOf = (trx: AnyTransaction): Promise<object> =>
  trx.getExecutor().provideConnection(async (connection) => connection)

function endOf(write: EndWrite): Ended {
  if (write.kind === 'complete') return 'completed'
  return write.cause === 'overdue' ? 'overdue' : 'released'
}

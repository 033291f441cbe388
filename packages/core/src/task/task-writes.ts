import { setTimeout as delay } from 'node:timers/promises'
import { monotonicNow } from '../clock.js'
import { DatabaseError, PayloadError } from '../errors.js'
import { messageOf } from '../events.js'
import type { MonitorConfig } from '../options.js'
import { fatesOf } from '../store/fates.js'
import { insertTasks } from '../store/insert-tasks.js'
import { type Inserted, jobKey, type NewTask } from '../store/new-tasks.js'
import { chunks, joinTransaction, type Store } from '../store/store.js'
import { deleteTasks, giveBackTask, markEnded, removeEnded, settleInserts } from '../store/tasks.js'
import { withTimeout } from '../timeout.js'
import type { OwnTasks } from './own-tasks.js'
import type { EndWrite } from './state.js'
import type { Task } from './task.js'
import type { AnyTransaction } from './task-handle.js'
import { WriteBatcher } from './write-batcher.js'

interface Registration {
  readonly task: NewTask
  /** A suspect that has the process to itself. */
  readonly isolated: boolean
}

/** A task that was completed in a transaction of the caller's; `mark` tells it from a later time. */
interface Question {
  readonly task: Task
  readonly mark: number
}

/** A job that was in flight in this many dying processes is a suspect. */
const SUSPECT_FROM = 2

/** Most bytes of payload in one statement, beside the first: so a batch of large ones needs no memory for all. */
const STATEMENT_BYTES = 8 * 1_048_576

/** Milliseconds between questions what became of a transaction: at first, and at most. */
const ASK = { first: 5, most: 250 } as const

/** Milliseconds to wait before each next question. */
export function* pauses(): Generator<number, never> {
  for (let pause: number = ASK.first; ; pause = Math.min(2 * pause, ASK.most)) yield pause
}

/** A job, and an id, of which an INSERT may happen yet is not written again: the late one could take its row. */
export const uncertain = ({ id, jobRef }: Pick<NewTask, 'id' | 'jobRef'>): DatabaseError => {
  const what = jobRef === null ? 'id' : `job ${JSON.stringify(jobRef)}`
  return new DatabaseError(
    `Could not register task ${id}: an earlier registration of the same ${what} got no answer, and may happen yet. ` +
      'That is made certain with every heartbeat: try again.',
  )
}

/** The statements about an incarnation's own tasks, gathered over all that are asked for at once. */
export class TaskWrites {
  readonly #store: Store
  readonly #config: MonitorConfig
  readonly #processId: string
  readonly #tasks: OwnTasks
  readonly #inserts: WriteBatcher<Registration, Inserted | Error>
  readonly #deletes: WriteBatcher<number, boolean>
  readonly #questions: WriteBatcher<Question, void>
  /** Rows that say that they are ended, to be deleted. */
  readonly #leftovers = new Set<number>()
  #epoch = 0
  #nonce = 0

  constructor(store: Store, config: MonitorConfig, processId: string, tasks: OwnTasks) {
    this.#store = store
    this.#config = config
    this.#processId = processId
    this.#tasks = tasks
    const maxItems = config.batchSize
    this.#inserts = new WriteBatcher({
      maxItems,
      maxWeight: () => Math.min(STATEMENT_BYTES, store.limits.payloadBytes),
      weigh: ({ task }) => Buffer.byteLength(task.payload),
      write: (registrations) => this.#insert(registrations),
      // A statement can't take over a row that it has just written.
      conflictKey: ({ task: { queue, jobRef } }) => (jobRef === null ? null : jobKey(queue, jobRef)),
    })
    this.#deletes = new WriteBatcher({
      maxItems,
      write: async (nonces) => {
        const deleted = await deleteTasks(store, processId, nonces)
        return nonces.map((nonce) => deleted.has(nonce))
      },
    })
    this.#questions = new WriteBatcher({ maxItems, write: (asked) => this.#ask(asked) })
  }

  /** The number of the next registration. */
  nextNonce(): number {
    this.#nonce += 1
    return this.#nonce
  }

  /** Whether the row was written; an Error for its own fault. Rejects when nobody knows. */
  insert(task: NewTask, isolated: boolean): Promise<Inserted | Error> {
    return this.#inserts.add({ task, isolated })
  }

  /**
   * Makes certain that none of these INSERTs has a row, nor ever will. False where nobody can know yet: see `settleInserts`.
   * Between two INSERTs, whose process row it needs.
   */
  async settleInserts(nonces: readonly number[]): Promise<boolean> {
    return this.#inserts.alone(() => {
      this.#epoch += 1
      return settleInserts(this.#store, { processId: this.#processId, epoch: this.#epoch, nonces })
    })
  }

  /** Whether the row was this process's still. */
  delete(nonce: number): Promise<boolean> {
    return this.#deletes.add(nonce)
  }

  /** Whether the row was this process's still. */
  giveBack(nonce: number, { cause, payload }: Extract<EndWrite, { kind: 'release' }>): Promise<boolean> {
    return giveBackTask(this.#store, this.#processId, nonce, cause, payload)
  }

  /** Ends a row in the caller's transaction. False where that sees no such row. */
  mark(nonce: number, mark: number, trx: AnyTransaction): Promise<boolean> {
    return markEnded(joinTransaction(this.#store, trx), this.#processId, nonce, mark)
  }

  /** Asks the database what became of the transaction that a task was completed in, and tells the task. */
  ask(task: Task): Promise<void> {
    return this.#questions.add({ task, mark: task.marks })
  }

  /**
   * Asks, but not for longer than a lease: where the caller's transaction has the pool's last connection there is none to
   * ask by.
   */
  lookUp(task: Task): Promise<void> {
    return withTimeout(this.ask(task), this.#config.orphanThreshold, `looking up task ${task.fullId}`)
  }

  /** Asks until the task is decided, ever more rarely. When that takes a lease, `late` is told each time, with what failed. */
  async decide(task: Task, late: (failure: unknown) => void): Promise<void> {
    const isLate = monotonicNow() + this.#config.orphanThreshold
    for (const pause of pauses()) {
      let failure: unknown
      await this.ask(task).catch((error) => {
        failure = error // The database is away: it is asked again.
      })
      if (task.state === 'undecided' && monotonicNow() > isLate) late(failure)
      if (task.state !== 'undecided') return
      await delay(pause)
    }
  }

  /** Deletes the rows that say that they are ended, as far as nobody has locked them. */
  async removeEnded(): Promise<void> {
    for (const some of chunks([...this.#leftovers])) {
      const left = await removeEnded(this.#store, this.#processId, some)
      for (const nonce of some) if (!left.has(nonce)) this.#leftovers.delete(nonce)
    }
  }

  async #ask(asked: readonly Question[]): Promise<readonly undefined[]> {
    const nonces = [...new Set(asked.map(({ task }) => task.nonce))]
    const fates = await fatesOf(this.#store, this.#processId, nonces)
    for (const { task, mark } of asked) {
      // One that was completed once more meanwhile is another question, which this answer is not for.
      if (task.state !== 'undecided' || task.marks !== mark) continue
      const fate = fates.get(task.nonce)!
      task.decided(fate)
      if (fate === 'committed') this.#leftovers.add(task.nonce)
    }
    await this.removeEnded().catch(() => undefined) // With the next heartbeat, or by whoever recovers this process.
    return asked.map(() => undefined)
  }

  /** Isolated tasks are written whatever their crash count, so they have a statement of their own. */
  async #insert(registrations: readonly Registration[]): Promise<readonly (Inserted | Error)[]> {
    const results = new Map<Registration, Inserted | Error>()
    // The one before it in this lane may have got no answer since it was asked for.
    for (const registration of registrations) {
      const { queue, jobRef } = registration.task
      const isUncertain = jobRef !== null && this.#tasks.isUncertain(queue, jobRef)
      if (isUncertain) results.set(registration, uncertain(registration.task))
    }
    for (const isolated of [false, true]) {
      const some = registrations.filter((one) => one.isolated === isolated && !results.has(one))
      if (some.length === 0) continue
      const all = isolated || !this.#config.isolateSuspects
      const written = await this.#insertAll(
        some.map(({ task }) => task),
        all ? Number.POSITIVE_INFINITY : SUSPECT_FROM,
      )
      for (const [index, registration] of some.entries()) results.set(registration, written[index]!)
    }
    return registrations.map((registration) => results.get(registration)!)
  }

  async #insertAll(tasks: readonly NewTask[], suspectFrom: number): Promise<readonly (Inserted | Error)[]> {
    const store = this.#store
    const { crashWindow } = this.#config
    const written = { processId: this.#processId, epoch: this.#epoch, tasks, suspectFrom, crashWindow }
    try {
      const answers = await insertTasks(store, written)
      return tasks.map(({ nonce }) => answers.get(nonce)!)
    } catch (error) {
      // The database named a value as wrong, so nothing was written: find the task at fault, spare the others.
      const kind = store.dialect.errorKind(error)
      if (kind !== 'bad-value' && kind !== 'duplicate') throw error
      if (tasks.length === 1) {
        const message = `The database refused task ${tasks[0]!.id}: ${messageOf(error)}`
        return [new PayloadError(message, { cause: error })]
      }
      const middle = Math.ceil(tasks.length / 2)
      const first = await this.#insertAll(tasks.slice(0, middle), suspectFrom)
      return [...first, ...(await this.#insertAll(tasks.slice(middle), suspectFrom))]
    }
  }
}

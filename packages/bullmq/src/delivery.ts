import { setTimeout as delay } from 'node:timers/promises'
import {
  DatabaseError,
  type JobHolder,
  JobTakenError,
  LeaseExpiredError,
  type Monitor,
  NotStartedError,
  OwnTask,
  StoppedError,
  type TaskHandle,
  TaskLostError,
} from '@holdfast/core'
import {
  isLost,
  type JobInternals,
  keysOf,
  type QueueInternals,
  runScript,
  type WorkerInternals,
} from './bullmq.js'
import { type Ends, endByEither, endsOf } from './ends.js'
import type { ProtectOptions } from './options.js'
import { failureSettings, type JobPayload, jobRefOf } from './payloads.js'
import { BEGIN } from './scripts/begin.js'
import { take } from './take.js'

/** Milliseconds between tries while the database is away, or while another worker puts the job back. */
const RETRY = 250

/** How often a job is claimed back that another worker has just fetched, and puts back when it hears whose it is. */
const CLAIMS = 8

/** Milliseconds after which a worker may fetch a job again that another process has still. */
const LATER = 1_000

/** Milliseconds that a registration may take before the lock is looked at again. */
const SLOW = 1_000

/** What a delivery needs besides its job. */
export interface DeliveryParts {
  /** The adapter's name. */
  readonly name: string
  readonly kind: JobPayload['kind']
  readonly options: ProtectOptions
  /** The adapter's own, which is there when its worker is closed. */
  readonly queue: QueueInternals
  /** Waits for a place to work in, or until `signal` aborts. */
  readonly place?: (signal: AbortSignal) => Promise<unknown>
  /** Resolves when the monitor has started. */
  monitor(): Promise<Monitor>
  /** Whether another delivery of this process has the job. */
  holds(): boolean
  /** Whether Redis may have lost who has what not long ago, as far as this process knows. */
  doubts(keys: string, server: string, patience: number): boolean
}

/**
 * `beginning`: its processor has not begun. `refused`: nor will it. `running`: until its end is written, or it is given
 * back.
 */
type State = 'beginning' | 'refused' | 'running' | 'ended'

/** What Redis has of a job: see `BEGIN`. */
type Look = readonly [server?: string, clock?: number, hash?: readonly string[]]

/** One time that BullMQ gave a job to this process. */
export class Delivery {
  readonly job: JobInternals
  /** Of the fetch: BullMQ refuses to end the job by any other. */
  readonly token: string
  /** BullMQ has heard how its processor ended, and is about to write it. */
  returned = false
  /** The task as the job's processor has it. Undefined where the job could not begin. */
  own: OwnTask | undefined
  /** BullMQ's own commands that end the job. */
  readonly ends: Ends
  readonly #parts: DeliveryParts
  readonly #cancelled = new AbortController()
  readonly #aborted = new AbortController()
  #state: State = 'beginning'
  #run: JobPayload | undefined
  /** When it was read, by Redis's clock in microseconds: later than any attempt before it. */
  #attempt = 0
  #task: TaskHandle | undefined
  #monitor: Monitor | undefined
  #claiming: Promise<boolean> | undefined

  constructor(job: JobInternals, token: string, parts: DeliveryParts) {
    this.job = job
    this.token = token
    this.ends = endsOf(job)
    this.#parts = parts
  }

  get state(): State {
    return this.#state
  }

  /**
   * BullMQ is to see it as completed before its work is done. Not so where nothing but BullMQ would know of it: an
   * unprotected one stays active while it runs.
   */
  get handsOff(): boolean {
    return this.#parts.kind === 'handOff' && this.#task?.protected === true
  }

  get worker(): WorkerInternals {
    return this.job.queue
  }

  /** Aborts when the work should end. */
  get signal(): AbortSignal {
    return this.#aborted.signal
  }

  get jobRef(): string | undefined {
    return this.#run && jobRefOf(this.#run)
  }

  /** The work should end. */
  abort(reason: unknown): void {
    this.#aborted.abort(reason)
  }

  /** Aborts with that signal, too. */
  hear(signal: AbortSignal | undefined): void {
    if (signal?.aborted) this.abort(signal.reason)
    signal?.addEventListener('abort', () => this.abort(signal.reason), { once: true })
  }

  /** The processor shall not begin any more; the job is given back. */
  cancel(): void {
    this.#cancelled.abort(new StoppedError(`Job ${this.job.id} was given back before it began.`))
  }

  /**
   * Registers the job. False when it is others' or was given back.
   *
   * @throws PayloadError, PayloadTooLargeError, ConfigError, whatever a codec throws: it can't be protected
   */
  async begin(): Promise<boolean> {
    const monitor = await this.#started()
    if (monitor === undefined) return this.#refuse()
    this.#monitor = monitor
    const { processId } = monitor
    let begun: number
    try {
      if (!(await this.#read())) {
        await this.giveBack() // Its worker may have been closed by force, so that nobody could say.
        return this.#refuse()
      }
      begun = performance.now()
      if (await this.#isElsewhere(monitor)) {
        await this.#putAway((ends) => ends.moveToDelayed(Date.now() + LATER, this.token))
        return this.#refuse()
      }
      await this.#parts.place?.(this.#cancelled.signal)
      this.#cancelled.signal.throwIfAborted()
      this.#task = await this.#register(monitor)
      this.own = new OwnTask(this.#task, monitor)
      this.hear(this.#task.signal)
    } catch (error) {
      if (this.#cancelled.signal.aborted || takesNoMore(error)) {
        await this.giveBack()
        return this.#refuse()
      }
      throw error // It fails as any job fails.
    }
    if (!(await this.#mayRun(processId, begun))) {
      await this.giveBack()
      await this.endRow()
      return this.#refuse()
    }
    this.#state = 'running'
    return true
  }

  /** The monitor, unless the job is given back before that has started. */
  async #started(): Promise<Monitor | undefined> {
    const { signal } = this.#cancelled
    const cancelled = new Promise<undefined>((resolve) => {
      if (signal.aborted) resolve(undefined)
      signal.addEventListener('abort', () => resolve(undefined), { once: true })
    })
    const monitor = await Promise.race([this.#parts.monitor(), cancelled])
    if (monitor === undefined) await this.giveBack()
    return monitor
  }

  #refuse(): false {
    this.#state = 'refused'
    return false
  }

  /** Reads the job as Redis has it; false when it is no longer this fetch's. */
  async #read(): Promise<boolean> {
    const { kind } = this.#parts
    const id = this.job.id!
    const [server, begunAt, hash] = await this.#look()
    if (server === undefined || hash === undefined) return false
    const fields: Record<string, string> = {}
    for (let at = 0; at < hash.length; at += 2) fields[hash[at]!] = hash[at + 1]!
    const { timestamp = '0', ats = '0' } = fields
    this.#attempt = Number(begunAt)
    this.#run = {
      ...{ kind, keys: keysOf(this.worker), id, timestamp: Number(timestamp) },
      ...{ token: this.token, starts: Number(ats), server, fields },
      settings: failureSettings(this.worker),
    }
    return true
  }

  /** What Redis has of the job, if it is this fetch's. No job fails because Redis does: it is asked until it answers. */
  async #look(): Promise<Look> {
    while (!this.worker.closed) {
      try {
        return (await runScript(this.worker, BEGIN, this.job.id!, this.token)) as Look
      } catch (error) {
        this.worker.emit('error', error as Error)
        await delay(RETRY)
      }
    }
    return []
  }

  /** Whether another has the job in flight: BullMQ's stalled check, or a Redis that lost its last writes, gave it here. */
  async #isElsewhere(monitor: Monitor): Promise<boolean> {
    const { fields, server, keys } = this.#run!
    const hasStartedBefore = Number(fields.ats) - Number(fields.atm ?? 0) > 1 || Number(fields.stc ?? 0) > 0
    const doubts = this.#parts.doubts(keys, server, monitor.config.orphanThreshold)
    if (!hasStartedBefore && !doubts) return false
    if (this.#parts.holds()) return true
    // Alive: it ends the job. Dead: the sweep counts the crash. A recovery is what has just made it runnable.
    const state = await this.#holder(monitor)
    return state === 'alive' || state === 'dead'
  }

  async #holder(monitor: Monitor): Promise<JobHolder['state'] | undefined> {
    const unprotected = monitor.config.onRegisterFailure === 'run-unprotected'
    const holder = await this.#untilThere(() =>
      monitor.holderOf(this.jobRef!, this.#parts.name).catch((error) => {
        if (unprotected && DatabaseError.is(error)) return undefined
        throw error
      }),
    )
    return holder?.processId === monitor.processId ? undefined : holder?.state
  }

  /** Waits for the database, unless the monitor says to run without. BullMQ renews the lock meanwhile. */
  #register(monitor: Monitor): Promise<TaskHandle> {
    const { name, options } = this.#parts
    const { signal } = this.#cancelled
    const jobRef = this.jobRef!
    const attempt = this.#attempt
    return this.#untilThere(() =>
      monitor.register({ ...options, queue: name, payload: this.#run, ...{ jobRef, attempt, signal } }),
    )
  }

  /** Whether nothing has come in between since the job was read. */
  async #mayRun(processId: string, begun: number): Promise<boolean> {
    const isSlow = performance.now() - begun > SLOW
    if (isSlow && (await this.#look()).length === 0) return false
    const { fullId, signal, protected: isProtected } = this.#task!
    const sameLife = !isProtected || fullId.startsWith(`${processId}/`)
    return sameLife && !this.#cancelled.signal.aborted && !signal.aborted
  }

  /** Tries again while the database is away, unless the job is given back meanwhile. */
  async #untilThere<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work()
      } catch (error) {
        if (!(DatabaseError.is(error) || LeaseExpiredError.is(error))) throw error
        this.#cancelled.signal.throwIfAborted()
        await delay(RETRY, undefined, { signal: this.#cancelled.signal }).catch(() => undefined) // Seen above.
      }
    }
  }

  /** Puts it back in front of the others, if it is this fetch's still. */
  async giveBack(): Promise<void> {
    await this.#putAway((ends) => ends.moveToWait(this.token))
  }

  async #putAway(end: (ends: Ends) => Promise<unknown>): Promise<void> {
    await this.move(end).catch((error) => {
      // BullMQ's stalled check gives it back later.
      if (!isLost(error)) this.worker.emit('error', error)
    })
  }

  /** Has BullMQ move it. */
  move(end: (ends: Ends) => Promise<unknown>): Promise<void> {
    return endByEither(this.job, this.ends, this.#parts.queue, end)
  }

  /** The processor was cut short rather than failed: this process may be dead, or stops. */
  get cutShort(): boolean {
    const { aborted, reason } = this.#task!.signal
    return aborted && (LeaseExpiredError.is(reason) || StoppedError.is(reason) || TaskLostError.is(reason))
  }

  /** Gives a job back that had begun, unless its processor has done so. It keeps its attempts. */
  async handBack(): Promise<void> {
    this.#state = 'ended'
    if (!this.#task!.protected) {
      await this.giveBack()
      await this.endRow() // Nothing runs under it any more.
    } else if ((await this.own!.became()) === 'open') await this.#task!.release().catch(unlessSettled)
  }

  /**
   * What its processor has made of its task so far, perhaps in a transaction that waits for whoever asks.
   *
   * @throws ConfigError, DatabaseError where nobody knows it a lease later
   */
  async hasCompleted(): Promise<boolean> {
    if (this.#state !== 'running') return false
    return (await this.#monitor!.settle(this.#task!, { soon: true })) === 'completed'
  }

  /** Its end is written. */
  async endRow(): Promise<void> {
    this.#state = 'ended'
    if (this.#task !== undefined && (await this.own!.became()) === 'open') {
      await this.#task.complete().catch(unlessSettled)
    }
  }

  /**
   * Makes the job this fetch's again, where Redis or BullMQ has taken it for abandoned although this process lives. False
   * when others have it.
   */
  reclaim(): Promise<boolean> {
    this.#claiming ??= this.#reclaim().finally(() => {
      this.#claiming = undefined
    })
    return this.#claiming
  }

  /**
   * Takes the job back after this process has fetched it once more, for which its worker gives up renewing the lock: at
   * once, or when it has put that fetch away.
   */
  async resume(): Promise<void> {
    if (!(await this.reclaim())) return
    const { lockManager } = this.worker
    for (let looks = 0; looks < CLAIMS && this.#state === 'running' && !this.returned; looks++) {
      const isTracked = lockManager.getTrackedJobIds().includes(this.job.id!)
      if (!isTracked) lockManager.trackJob(this.job.id!, this.token, Date.now())
      await delay(RETRY)
    }
  }

  async #reclaim(): Promise<boolean> {
    // Handed off, nothing would unlock it again.
    if (this.handsOff && !this.returned) return false
    for (let tries = 0; tries < CLAIMS; tries++) {
      if (this.#state !== 'running' || !(await this.#isOurs())) return false
      const [answer] = await take(this.worker, this.#run!, { purpose: 'keep', token: this.token })
      if (answer === 'taken') return true
      if (answer !== 'busy' && answer !== 'superseded') return false
      await delay(RETRY)
    }
    return false
  }

  /** Takes a handed-off job into BullMQ again, to fail it there. */
  async takeBack(): Promise<boolean> {
    const [answer] = await take(this.worker, this.#run!, { purpose: 'end', token: this.token })
    return answer === 'taken'
  }

  /** Whether the job is this process's by the database's word, which is waited for: nobody else begins it without. */
  async #isOurs(): Promise<boolean> {
    const task = this.#task!
    if (!task.protected || this.own!.isReleased) return false
    try {
      await task.confirm()
      if (await this.#monitor!.isRegistered(task)) return true
    } catch {
      // Declared dead, or stopped: then BullMQ decides.
    }
    // What has committed has no row that others could find, and must not run again.
    return (await this.own!.became()) === 'completed'
  }
}

/** This process begins no more jobs, or is about to go on under another id: others take it. */
const takesNoMore = (error: unknown): boolean =>
  StoppedError.is(error) || NotStartedError.is(error) || TaskLostError.is(error) || JobTakenError.is(error)

/** Lost: whoever has the row sees to the job. Not reached: the monitor tries again with every heartbeat. */
function unlessSettled(error: unknown): void {
  if (!TaskLostError.is(error) && !DatabaseError.is(error)) throw error
}

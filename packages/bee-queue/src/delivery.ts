import { setTimeout as delay } from 'node:timers/promises'
import {
  DatabaseError,
  type JobHolder,
  LeaseExpiredError,
  type Monitor,
  OwnTask,
  StoppedError,
  type TaskHandle,
  TaskLostError,
} from '@holdfast/core'
import type { BeeJobInternals } from './bee-queue.js'
import type { ProtectOptions } from './options.js'
import { failureSettings, type JobPayload, jobRefOf, textOf, timestampOf } from './payloads.js'
import { presenceTimes } from './presence.js'
import type { RedisLink } from './redis-link.js'
import { BEGIN } from './scripts/begin.js'
import { FINISH } from './scripts/finish.js'
import { GIVE_BACK } from './scripts/give-back.js'
import { LEAVE } from './scripts/leave.js'
import { RECLAIM } from './scripts/reclaim.js'
import { takesNoMore, unlessSettled } from './task-errors.js'

/** Milliseconds between tries while Redis or the database is away. */
const RETRY = 250

/** What a delivery needs of the queue it comes from. */
export interface DeliveryParts {
  readonly link: RedisLink
  readonly prefix: string
  /** The adapter's name. */
  readonly name: string
  readonly kind: JobPayload['kind']
  readonly options: ProtectOptions
  /** Waits for a place to work in, or until `signal` aborts. */
  readonly place?: (signal: AbortSignal) => Promise<unknown>
  /** Resolves when the monitor has started. */
  monitor(): Promise<Monitor>
  newToken(processId: string): string
  /** Whether a delivery of this process has the token. */
  holds(token: string): boolean
  /** Whether a run of this process's, that has given the job back, goes on. */
  runsOn(jobRef: string): boolean
  /** Whether Redis may have lost who owns what not long ago, as far as this process knows. */
  doubts(server: string, patience: number): boolean
  /** The Redis that was met last. */
  server(): string
}

/**
 * `beginning`: its handler has not begun. `refused`: nor will it, and bee-queue shall write nothing of it. `ended`: its
 * end is written, or on its way.
 */
type State = 'beginning' | 'refused' | 'running' | 'ended'

/** One time that bee-queue gave a job to this process. */
export class Delivery {
  readonly job: BeeJobInternals
  /** The task as the job's handler has it. Undefined where the job could not begin. */
  own: OwnTask | undefined
  readonly #parts: DeliveryParts
  readonly #cancelled = new AbortController()
  readonly #aborted = new AbortController()
  #state: State = 'beginning'
  #token = ''
  #server = ''
  /** When it was begun, by Redis's clock in microseconds: later than any attempt before it. */
  #attempt = 0
  #text = ''
  #task: TaskHandle | undefined
  #reclaiming = false

  constructor(job: BeeJobInternals, parts: DeliveryParts) {
    this.job = job
    this.#parts = parts
  }

  get state(): State {
    return this.#state
  }

  get token(): string {
    return this.#token
  }

  get jobRef(): string {
    return jobRefOf({ prefix: this.#parts.prefix, id: this.job.id, timestamp: this.#timestamp })
  }

  /** bee-queue's text of the job, from before its handler began. */
  get text(): string {
    return this.#text
  }

  /**
   * It is to succeed in bee-queue before its work is done. Not so where nothing but bee-queue would know of it: an
   * unprotected one stays active while it runs.
   */
  get handsOff(): boolean {
    return this.#parts.kind === 'handOff' && this.#task?.protected === true
  }

  get signal(): AbortSignal {
    return this.#aborted.signal
  }

  /** The handler shall not begin any more; the job is given back. */
  cancel(): void {
    this.#cancelled.abort(new StoppedError(`Job ${this.job.id} was given back before it began.`))
    if (this.#state === 'beginning') this.#state = 'refused'
  }

  /** The work should end. */
  abort(reason: unknown): void {
    this.#aborted.abort(reason)
  }

  /**
   * Makes the job this process's, in Redis and in the database. False when it is others' or was given back.
   *
   * @throws PayloadError, PayloadTooLargeError, ConfigError, whatever a codec throws: it can't be protected
   */
  async begin(): Promise<boolean> {
    let processId: string
    try {
      const monitor = await this.#started()
      processId = monitor.processId
      // Two runs at once would be one too many.
      while (this.#parts.runsOn(this.jobRef)) {
        this.#cancelled.signal.throwIfAborted()
        await this.#pause()
      }
      if (!(await this.#own(monitor))) return this.#refuse()
      if (await this.#isElsewhere(monitor)) {
        await this.#patiently(() => this.#run(LEAVE))
        return this.#refuse()
      }
      await this.#parts.place?.(this.#cancelled.signal)
      this.#cancelled.signal.throwIfAborted()
      this.#task = await this.#register(monitor)
      this.own = new OwnTask(this.#task, monitor)
    } catch (error) {
      if (this.#cancelled.signal.aborted || takesNoMore(error)) {
        await this.#giveBack()
        return this.#refuse()
      }
      this.#state = 'running' // It fails as any job fails.
      throw error
    }
    const { signal } = this.#task
    signal.addEventListener('abort', () => this.abort(signal.reason), { once: true })
    if (!(await this.#mayRun(processId))) {
      await this.#giveBack()
      await this.endRow()
      return this.#refuse()
    }
    this.#state = 'running'
    return true
  }

  /** Waits for the monitor, unless the job is given back before: a start can fail. */
  #started(): Promise<Monitor> {
    const { signal } = this.#cancelled
    signal.throwIfAborted()
    const cancelled = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
    return Promise.race([this.#parts.monitor(), cancelled])
  }

  /** Whether another process has the job, though Redis has forgotten that. */
  async #isElsewhere(monitor: Monitor): Promise<boolean> {
    if (!this.#parts.doubts(this.#server, monitor.config.orphanThreshold)) return false
    const state = await this.#holder(monitor)
    // A recovery is what has just made it runnable.
    return state === 'alive' || state === 'dead'
  }

  /** Whether nothing has come in between since the job was made this process's. */
  async #mayRun(processId: string): Promise<boolean> {
    // Redis may have lost it again meanwhile.
    await this.reclaim(this.#parts.server()).catch(() => undefined) // Redis is away: the next heartbeat says it.
    const task = this.#task!
    const sameLife = task.fullId.startsWith(`${processId}/`)
    return sameLife && !this.#cancelled.signal.aborted && !task.signal.aborted && !this.signal.aborted
  }

  #refuse(): false {
    this.#state = 'refused'
    return false
  }

  /** Makes the job this process's in Redis. */
  async #own(monitor: Monitor): Promise<boolean> {
    const { processId, config } = monitor
    const { link, newToken, holds } = this.#parts
    const { lease, kept } = presenceTimes(config)
    this.#token = newToken(processId)
    let stale = ''
    while (!link.closed) {
      this.#cancelled.signal.throwIfAborted()
      let answer: unknown[]
      try {
        answer = (await this.#run(BEGIN, processId, stale, lease, kept)) as unknown[]
      } catch {
        // Redis broke off. The same again is the same.
        await this.#pause()
        continue
      }
      const [verdict, first, begunAt, stored] = answer
      const isLeft =
        verdict === 'mine'
          ? !holds(String(first))
          : // Without a row it can only come back so.
            verdict === 'abandoned' && (await this.#holder(monitor)) === undefined
      if (isLeft) {
        stale = String(first)
        continue
      }
      if (verdict !== 'ours') return false
      this.#server = String(first)
      this.#attempt = Number(begunAt)
      this.#text = textOf(this.job, stored)
      return true
    }
    return false
  }

  /**
   * What the database says of another process that has the job in flight. If it lives it will say again in Redis that it
   * owns the job, and what it finishes is accepted; if it is dead, the sweep makes the job runnable and counts the crash.
   */
  async #holder(monitor: Monitor): Promise<JobHolder['state'] | undefined> {
    const { name } = this.#parts
    const unprotected = monitor.config.onRegisterFailure === 'run-unprotected'
    const holder = await this.#untilThere(() =>
      monitor.holderOf(this.jobRef, name).catch((error) => {
        if (unprotected && DatabaseError.is(error)) return undefined
        throw error
      }),
    )
    return holder?.processId === monitor.processId ? undefined : holder?.state
  }

  /** Waits for the database, unless the monitor says to run without. */
  #register(monitor: Monitor): Promise<TaskHandle> {
    const { name, options, kind, prefix } = this.#parts
    const payload: JobPayload = {
      ...{ kind, prefix, id: this.job.id, timestamp: this.#timestamp },
      ...{ token: this.#token, server: this.#server, job: this.#text },
      settings: failureSettings(this.job.queue),
    }
    const { signal } = this.#cancelled
    const attempt = this.#attempt
    return this.#untilThere(() =>
      monitor.register({ ...options, queue: name, payload, ...{ jobRef: this.jobRef, attempt, signal } }),
    )
  }

  /** Tries again while the database is away, unless the job is given back meanwhile. */
  async #untilThere<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work()
      } catch (error) {
        if (!(DatabaseError.is(error) || LeaseExpiredError.is(error))) throw error
        this.#cancelled.signal.throwIfAborted()
        await this.#pause()
      }
    }
  }

  async #pause(): Promise<void> {
    await delay(RETRY, undefined, { signal: this.#cancelled.signal }).catch(() => undefined) // Seen by who waits.
  }

  get #timestamp(): number {
    return timestampOf(this.job)
  }

  /** Runs a script on this job, as its owner. */
  #run(script: string, ...args: readonly (string | number)[]): Promise<unknown> {
    return this.#parts.link.run(script, this.job.id, this.#timestamp, this.#token, ...args)
  }

  /** Puts it back in front of the others, if it is this process's still. */
  async #giveBack(): Promise<void> {
    await this.#patiently(() => this.#run(GIVE_BACK, this.#text || this.job.toData()))
  }

  /** Redis comes back; until then it is tried again. Undefined when this process has closed its connection. */
  async #patiently<T>(work: (tries: number) => Promise<T>): Promise<T | undefined> {
    for (let tries = 1; !this.#parts.link.closed; tries++) {
      try {
        return await work(tries)
      } catch {
        await delay(RETRY)
      }
    }
    return undefined
  }

  /** The handler was cut short rather than failed: this process may be dead, or stops. */
  get cutShort(): boolean {
    const { aborted, reason } = this.#task?.signal ?? {}
    return (
      aborted === true &&
      (LeaseExpiredError.is(reason) || StoppedError.is(reason) || TaskLostError.is(reason))
    )
  }

  /** Its handler has given it back: there is nothing to write. */
  letGo(): void {
    this.#state = 'ended'
  }

  /** Gives a job back that had begun. It keeps its retries. */
  async handBack(): Promise<void> {
    this.#state = 'ended'
    if (!this.#task!.protected) await this.#giveBack()
    else if ((await this.own!.became()) === 'open') await this.#task!.release().catch(unlessSettled)
  }

  /**
   * Writes the end of the job. False when the job is not this process's any more and nothing was written.
   *
   * @param keeps the job stays this process's, as when it is handed off
   */
  async write(commands: readonly (string | number)[][], keeps = false): Promise<boolean> {
    // Said before, or what is shown anew after a loss of data could come after the end.
    if (!keeps) this.#state = 'ended'
    const words = commands.flatMap((command) => [command.length, ...command])
    const finish = (isSure: boolean): Promise<unknown> =>
      this.#patiently((tries) => {
        const flags = [tries > 1, keeps, isSure].map((flag) => (flag ? '1' : ''))
        return this.#run(FINISH, this.#server, ...flags, ...words)
      })
    let answer = await finish(false)
    if (answer === 'doubt' && (await this.#lives())) answer = await finish(true)
    return answer === 'done'
  }

  /** Whether the database says that this process lives; waits for it, if need be. */
  async #lives(): Promise<boolean> {
    if (this.#task === undefined) return true // It could not begin, and is nobody's to recover.
    return this.#task.confirm().then(
      () => true,
      () => false, // Declared dead, or stopped: others have its jobs.
    )
  }

  /** Says again whose the job is, where it was begun on another Redis than `server`. */
  async reclaim(server: string): Promise<void> {
    const isBegun = this.#server !== '' && (this.#state === 'beginning' || this.#state === 'running')
    if (!isBegun || this.own?.isReleased || server === this.#server || this.#reclaiming) return
    this.#reclaiming = true
    try {
      // Its row may be recovered by now. Before it has one it is nobody's to recover.
      if (this.#task !== undefined && !(await this.#lives())) return
      if (this.#state === 'ended' || this.#state === 'refused') return
      const handedOff = this.handsOff ? '1' : ''
      const answer = await this.#run(RECLAIM, this.#text, handedOff)
      // Where its id was given to another job, its end is refused while Redis is another than it was begun on.
      if (answer === 'ours') this.#server = server
      if (answer !== 'theirs') return
      this.abort(new TaskLostError(`Job ${this.job.id} was begun by another process. Discard the result.`))
    } finally {
      this.#reclaiming = false
    }
  }

  /** Ends the task, unless that was done. False when it is lost. */
  async endRow(): Promise<boolean> {
    if (this.#task === undefined) return true
    const became = await this.own!.became()
    if (became !== 'open') return became !== 'lost'
    return this.#task.complete().then(
      () => true,
      (error) => {
        unlessSettled(error)
        return !TaskLostError.is(error)
      },
    )
  }
}

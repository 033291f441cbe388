import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { type AnyDatabase, Child, connect, freshDatabase, Ledger, until } from '@holdfast/chaos'
import {
  type AdapterCapabilities,
  migrate,
  type QueueAdapter,
  TaskMonitor,
  type TaskMonitorOptions,
} from '@holdfast/core'
import { QueueProxy } from './queue-proxy.js'
import { Records } from './records.js'
import type {
  AdapterTestOptions,
  AddOptions,
  HeldJob,
  ProbedJob,
  TestDatabase,
  TestQueue,
  Way,
  Work,
} from './setup.js'
import { TIMES } from './times.js'
import { gateOf } from './work.js'

export interface WorkerStart {
  /** @default the first of the adapter's */
  readonly way?: Way
  /** @default 20 */
  readonly concurrency?: number
  /** Options of its monitor that JSON can say. */
  readonly monitor?: Partial<TaskMonitorOptions>
  /** Its protected handler is one that the user has put something around. @default false */
  readonly wrapped?: boolean
  /** It takes no jobs. @default false */
  readonly idle?: boolean
}

export interface MonitorStart extends Partial<Omit<TaskMonitorOptions, 'db' | 'adapters'>> {
  /** Stands before the adapter. */
  readonly around?: (adapter: QueueAdapter) => QueueAdapter
}

/** A worker's process: to be killed, paused and stopped. */
export interface WorkerProcess {
  readonly pid: number
  /** Of its monitor when it started. */
  readonly processId: string
  /** What it wrote to stdout and stderr. */
  readonly output: string
  /** How it ended. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  /** SIGKILL. */
  kill(): Promise<void>
  /** SIGSTOP. */
  pause(): void
  resume(): void
  /** Stops its monitor, then itself. Resolves when what it could not end has been given back. @param drain in ms */
  stop(drain?: number): Promise<void>
  /** Resolves when it stops and its adapter says that it takes no more jobs. */
  stopping(): Promise<void>
  /** One sweep; with `dieAtWrite` it kills itself before that many writes. False: it died. */
  sweep(dieAtWrite?: number): Promise<boolean>
}

export interface Victim {
  readonly processId: string
  readonly jobs: readonly HeldJob[]
}

/** A queue with its workers, and the database of their monitors. */
export class Fleet<Queue extends TestQueue = TestQueue> implements AsyncDisposable {
  readonly records: Records
  readonly #ledger = Ledger.create()
  readonly #closing: (() => unknown)[] = []
  readonly #proxies: QueueProxy[] = []
  readonly #workers: Child[] = []
  #queue!: Queue

  private constructor(
    private readonly options: AdapterTestOptions<Queue>,
    readonly database: TestDatabase,
  ) {
    this.records = new Records(database.db)
  }

  static async create<Queue extends TestQueue>(
    options: AdapterTestOptions<Queue>,
    serverUrl: string,
  ): Promise<Fleet<Queue>> {
    const database = await freshDatabase(serverUrl, serverUrl)
    const fleet = new Fleet(options, database)
    fleet.#closing.push(() => database[Symbol.asyncDispose]())
    try {
      await migrate(database.db)
      fleet.#queue = await options.setup({ database, proxy: (url) => fleet.#proxy(url) })
      fleet.#closing.push(() => fleet.#queue.close())
    } catch (error) {
      await fleet[Symbol.asyncDispose]()
      throw error
    }
    return fleet
  }

  /** What `setup()` answered. */
  get queue(): Queue {
    return this.#queue
  }

  /** The proxies before the queue. */
  get proxies(): readonly QueueProxy[] {
    return this.#proxies
  }

  async add(work: Omit<Work, 'key'> = {}, options: AddOptions = {}): Promise<HeldJob> {
    const whole = { key: newKey(), ...work }
    return { ...(await this.queue.probes.add(whole, options)), work: whole }
  }

  async worker(start: WorkerStart = {}): Promise<WorkerProcess> {
    const { way, concurrency = 20, monitor, wrapped = false, idle = false } = start
    const { worker: script, execArgv = [], ways } = this.options
    const child = new Child(script, {
      execArgv,
      options: {
        ...{ url: this.database.url, ledger: this.#ledger.folder, way: way ?? ways[0], concurrency },
        ...{ wrapped, idle },
        ...{ options: this.queue.options, monitor: { ...TIMES, ...monitor } },
      },
    })
    this.#workers.push(child)
    this.#closing.push(() => child[Symbol.asyncDispose]())
    const { processId } = await child.message<{ processId: string }>('registered')
    await child.message('ready').catch(async (error) => {
      // Its first job may have killed it already.
      if ((await child.exited).signal !== 'SIGKILL') throw error
    })
    return workerProcess(child, processId)
  }

  /** Jobs that a worker ran when it was killed. Its lease runs still, so nobody has recovered them. */
  async victim(jobs: readonly HeldJob[], start: WorkerStart = {}): Promise<Victim> {
    const worker = await this.worker({ concurrency: jobs.length + 5, ...start })
    for (const job of jobs) await this.started(job, 1)
    if ((start.way ?? this.options.ways[0]) !== 'guard') {
      const refs = new Set(jobs.map(({ jobRef }) => jobRef))
      await this.until(
        async () =>
          (await this.records.tasks()).filter(({ jobRef }) => refs.has(jobRef ?? '')).length === refs.size,
        'each job that runs has a task row with its jobRef',
      )
    }
    if (start.way === 'handOff') {
      for (const job of jobs) await this.ended(job)
    }
    await worker.kill()
    return { processId: worker.processId, jobs }
  }

  /** A monitor in this process, with an adapter of its own, that sweeps when it is told to. */
  async monitor({ around = (adapter) => adapter, ...options }: MonitorStart = {}): Promise<TaskMonitor> {
    const { adapter, close } = await this.queue.connect()
    const db: AnyDatabase = connect(this.database.url, 3)
    const logger = { warn: () => undefined, error: () => undefined }
    const monitor = new TaskMonitor({ db, adapters: [around(adapter)], logger, ...TIMES, ...options })
    this.#closing.push(async () => {
      await monitor.stop({ drain: 0 })
      await close?.()
      await db.destroy()
    })
    await monitor.start()
    return monitor
  }

  /** What the adapter declares. */
  async capabilities(): Promise<AdapterCapabilities> {
    const { adapter, close } = await this.queue.connect()
    await close?.()
    return adapter.capabilities
  }

  /** Sweeps until a dead process was found dead, and recovery was tried for each of its tasks. */
  async recover(monitor: TaskMonitor, processId: string): Promise<void> {
    await this.until(async () => {
      await monitor.cleanupOrphanedTasks()
      const state = await this.records.state(processId)
      if (state !== undefined && state !== 'dead') return false
      return (await this.records.tasksOf(processId)).every(({ postponed }) => postponed)
    }, `the tasks of ${processId} are recovered`)
  }

  /** All jobs of the queue that are this one, by its key. */
  async copies({ work }: HeldJob): Promise<ProbedJob[]> {
    return (await this.queue.probes.list()).filter(({ data }) => (data as Work | null)?.key === work.key)
  }

  /** Its state in the queue; undefined where the queue does not have it any more. Throws when there are several. */
  async state(job: HeldJob): Promise<ProbedJob['state'] | undefined> {
    const copies = await this.copies(job)
    if (copies.length > 1)
      throw new Error(`${copies.length} jobs are ${job.work.key}: ${JSON.stringify(copies)}`)
    return copies[0]?.state
  }

  async started(job: HeldJob, runs: number): Promise<void> {
    await this.until(() => this.runs(job).length >= runs, `job ${job.work.key} starts for the ${runs}. time`)
  }

  async finished(job: HeldJob): Promise<void> {
    await this.until(
      () => this.#ledger.entries('finish', job.work.key).length > 0,
      `job ${job.work.key} finishes`,
    )
  }

  /** Waits until the queue sees the job as ended, or has it no more. */
  async ended(job: HeldJob): Promise<void> {
    await this.until(
      async () => [undefined, 'completed', 'failed'].includes(await this.state(job)),
      `the queue sees ${job.work.key} as ended`,
    )
  }

  /** Waits until no job has a task row of this process; of none at all by default. */
  async settled(processId?: string): Promise<void> {
    const rows = () => (processId === undefined ? this.records.tasks() : this.records.tasksOf(processId))
    await this.until(
      async () => (await rows()).every(({ jobRef }) => jobRef === null),
      'no task is in flight',
    )
  }

  /**
   * Waits for a condition; says what the queue, the database and the workers show when it does not come true.
   *
   * @param patience milliseconds, for what comes soon if it comes at all. @default the kit's
   */
  async until(condition: () => unknown, what: string, patience = this.options.patience): Promise<void> {
    try {
      await until(condition, { what, timeout: patience })
    } catch (error) {
      const [tasks, jobs] = [await this.records.tasks(), await this.queue.probes.list()]
      const outputs = this.#workers.map(({ pid, output }) => ({ pid, output: output.slice(-2_000) }))
      throw new Error(`${(error as Error).message}\n${inspect({ tasks, jobs, outputs }, { depth: 4 })}`)
    }
  }

  /** The runs of a job that began: which process, and the body that it got. */
  runs({ work }: HeldJob): { pid: number; body: unknown }[] {
    const starts = this.#ledger.entries('start', work.key)
    return starts.map(({ pid, detail }) => ({ pid, body: (detail as { body?: unknown } | undefined)?.body }))
  }

  /** Why the signal of a job's run aborted, in which process. */
  aborts({ work }: HeldJob): { pid: number; code: unknown }[] {
    return this.#ledger.entries('aborted', work.key).map(({ pid, detail }) => ({ pid, code: detail }))
  }

  /** What its runs told of this kind. */
  told({ work }: HeldJob, what: string): unknown[] {
    return this.#ledger.entries(what, work.key).map(({ detail }) => detail)
  }

  finishes({ work }: HeldJob): number[] {
    return this.#ledger.entries('finish', work.key).map(({ pid }) => pid)
  }

  /** @param pid opens it for this process alone */
  openGate(gate: string, pid?: number): void {
    this.#ledger.openGate(pid === undefined ? gate : gateOf(gate, pid))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const proxy of this.#proxies) proxy.mend()
    for (const close of this.#closing.reverse().splice(0)) await close()
    for (const proxy of this.#proxies) await proxy[Symbol.asyncDispose]()
    this.#ledger.remove()
  }

  async #proxy(to: string): Promise<string> {
    const { proxy, url } = await QueueProxy.to(to)
    this.#proxies.push(proxy)
    return url
  }
}

const newKey = (): string => `job-${randomBytes(5).toString('hex')}`

function workerProcess(child: Child, processId: string): WorkerProcess {
  return {
    pid: child.pid,
    processId,
    exited: child.exited,
    get output() {
      return child.output
    },
    kill: () => child.kill(),
    pause: () => child.pause(),
    resume: () => child.resume(),
    async stop(drain = 300) {
      child.send({ type: 'stop', drain })
      await child.message('handedOver')
    },
    async stopping() {
      await child.message('stopping')
    },
    async sweep(dieAtWrite) {
      const swept = child.message('swept').then(() => true)
      swept.catch(() => undefined) // It died: told by its exit.
      child.send({ type: 'sweep', ...(dieAtWrite === undefined ? {} : { dieAtWrite }) })
      return Promise.race([swept, child.exited.then(() => false)])
    },
  }
}

import type { QueueAdapter } from '@holdfast/core'
import type { Kysely } from 'kysely'
import type { Fleet } from './fleet.js'
import type { TestRunner } from './runner.js'

/**
 * A way to use an adapter. `track`: the job stays active in its queue while its handler runs. `handOff`: the queue sees it
 * as finished once it is registered. `guard`: one task row for all that a worker holds.
 */
export type Way = 'track' | 'handOff' | 'guard'

/** A database of the monitor's, empty but for Holdfast's tables, for one area of tests. */
export interface TestDatabase {
  readonly url: string
  // biome-ignore lint/suspicious/noExplicitAny: tests read any table
  readonly db: Kysely<any>
}

/** What an adapter under test is set up with. */
export interface SetupContext {
  readonly database: TestDatabase
  /**
   * The address of the queue through a proxy of the kit's, which cuts and freezes it. For what `connect()` is given:
   * workers and probes go to the queue itself. Needed where `atomicRecovery` is false.
   */
  proxy(url: string): Promise<string>
}

/**
 * What a handler does to the task that it is given, together with an effect of its own: completes it in a transaction
 * (which then comes to that), without one, or releases it.
 */
export type Deed =
  | 'rolls back'
  | 'rolls back, unnoticed'
  | 'fails to commit'
  | 'leaves open'
  | 'leaves open, then throws'
  | 'commits, then throws'
  | 'commits, then stands still'
  | 'completes twice'
  | 'completes twice in a transaction'
  | 'releases'
  | 'releases, then throws'
  | 'releases, then completes'

/** What a test has a job do; the job's data in its queue, to be delivered as it is. */
export interface Work {
  /** Tells this job from all others. */
  readonly key: string
  /** Waits until the kit opens this gate. Else it finishes at once. */
  readonly gate?: string
  /** Ends its wait when its signal aborts. */
  readonly listens?: boolean
  /** How many of its first runs fail. @default 0 */
  readonly fails?: number
  /** Kills its own process. */
  readonly kill?: boolean
  /** What its first run does to its task, and nothing else. */
  readonly deed?: Deed
  /** Anything that JSON can say. */
  readonly body?: unknown
}

export interface AddOptions {
  /** How often the queue itself tries the job in all. @default 1 where the queue's own default is to try once, else the queue's */
  readonly maxAttempts?: number
}

/** A job as it was added. */
export interface AddedJob {
  readonly id: string
  /** Its identity on a task row: see `RegisterOptions.jobRef`. */
  readonly jobRef: string
}

/**
 * What the queue itself says of a job. `runnable`: a worker takes it now. `delayed`: later. `active`: a worker has it.
 * `completed`, `failed`: it ended, and is still there.
 */
export type ProbedState = 'runnable' | 'delayed' | 'active' | 'completed' | 'failed'

/** A job as it stands in the queue. */
export interface ProbedJob extends AddedJob {
  readonly data: unknown
  readonly state: ProbedState
  /**
   * All else that a recovered job must still have, as when it ran: priority, attempts made and allowed, and so on. What
   * the queue itself changes at each run or move, such as times, stays out.
   */
  readonly fields: Readonly<Record<string, unknown>>
}

/** Reads and writes the real queue, past the adapter, so that no test takes the adapter's word. */
export interface Probes {
  add(work: Work, options?: AddOptions): Promise<AddedJob>
  /** All jobs that the queue has. */
  list(): Promise<readonly ProbedJob[]>
}

/** An adapter as a process has it that runs no jobs but sweeps. */
export interface Connected {
  readonly adapter: QueueAdapter
  /** Frees what `adapter` needed, after its monitor has stopped. */
  close?(): Promise<void>
}

/** A queue with the adapter under test. */
export interface TestQueue {
  readonly probes: Probes
  /** What the worker module gets as `options`; JSON. */
  readonly options: unknown
  /** Called for each monitor that the kit starts in its own process: each needs an adapter of its own. */
  connect(): Promise<Connected>
  /** Removes all that `setup()` made. Called after workers and monitors have ended. */
  close(): Promise<void>
}

/** A job that a dead worker held. */
export interface HeldJob extends AddedJob {
  readonly work: Work
}

/** What the queue may hold of a dead worker's job when it is recovered. */
export interface Situation<Queue extends TestQueue> {
  /** Completes "a job that is …": `'completed, only its row is left'`. */
  readonly name: string
  /** The ways in which it can occur. @default all */
  readonly ways?: readonly Way[]
  /** Brings a dead worker's job into this situation, before its recovery. */
  arrange(queue: Queue, job: HeldJob, fleet: Fleet): Promise<void>
  /** What the adapter must answer, as the history (`recoveries`) has it. `none`: no row stands for the job any more. */
  readonly outcome: 'requeued' | 'alreadyThere' | 'finished' | 'superseded' | 'exhausted' | 'none'
  /** How often it must run after its recovery. @default 1 for `requeued` and `alreadyThere`, else 0 */
  readonly runs?: number
}

/** A job with more to it than its data. */
export interface Sample<Queue extends TestQueue> {
  /** Completes "a job with …": `'a priority'`. */
  readonly name: string
  add(queue: Queue, work: Work): Promise<AddedJob>
}

export interface AdapterTestOptions<Queue extends TestQueue = TestQueue> {
  /** Names the suite: the queue, and its version where there are several. */
  readonly name: string
  /** The ways that the adapter offers. The first is the one that most tests use. */
  readonly ways: readonly [Way, ...Way[]]
  /** A module that calls `runWorker` of `@holdfast/adapter-testkit/worker`: a process that works on the queue's jobs. */
  readonly worker: string | URL
  /** Arguments of node for workers, such as a loader for TypeScript. @default none */
  readonly execArgv?: readonly string[]
  /**
   * URLs of the servers that the monitor's databases are made on (`postgres:`, `mysql:`), by a user who may create
   * databases; the suite runs on each. @default HOLDFAST_TESTKIT_DATABASES, separated by spaces
   */
  readonly databases?: readonly string[]
  /**
   * Areas of tests to leave out, by how their names begin: for a second version or database, of which an area says
   * little new. @default HOLDFAST_TESTKIT_LEAVE_OUT, separated by `;`
   */
  readonly leaveOut?: readonly string[]
  /** Milliseconds to wait at most for what must happen, on a machine with nothing else to do; on a busy one longer. @default 90000 */
  readonly patience?: number
  /** Called for each area of tests. */
  setup(context: SetupContext): Promise<Queue>
  readonly samples?: readonly Sample<Queue>[]
  readonly situations?: readonly Situation<Queue>[]
  /** Tests of the adapter's own, with a fleet each. */
  additionalTests?(runner: TestRunner, fleet: () => Fleet<Queue>): void
}

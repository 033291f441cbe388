import { EventEmitter, once } from 'node:events'
import { patience } from '@holdfast/chaos'
import { TaskMonitor, type TaskMonitorOptions } from '@holdfast/core'
import type { Runner, RunnerOptions, TaskList, WorkerEvents } from 'graphile-worker'
import { expect } from 'vitest'
import {
  type GraphileWorkerAdapter,
  type GraphileWorkerAdapterOptions,
  graphileWorkerAdapter,
} from '../../src/index.js'
import type { Fixture } from './fixture.js'
import { graphile } from './graphile.js'

/** Longer than any test: what waits for it, fails. */
const DRAIN = 300_000

export interface InProcessOptions extends Partial<RunnerOptions> {
  readonly tasks: (adapter: GraphileWorkerAdapter) => TaskList
  readonly adapter?: GraphileWorkerAdapterOptions
  /** @default the fixture's, on graphile-worker's own database */
  readonly db?: TaskMonitorOptions['db']
  readonly monitor?: Partial<TaskMonitorOptions>
}

/** graphile-worker with Holdfast in the test's own process, so that it sees what handlers throw and get. */
export class InProcess implements AsyncDisposable {
  /** What graphile-worker told of jobs that failed. */
  readonly errors: { readonly job: string; readonly error: unknown }[] = []
  /** What it logged as an error. */
  readonly log: string[] = []
  readonly events: WorkerEvents = new EventEmitter()

  private constructor(
    readonly monitor: TaskMonitor,
    readonly adapter: GraphileWorkerAdapter,
    /** Stops graphile-worker alone. */
    public stopRunner: () => Promise<void> = async () => undefined,
  ) {
    this.events.on('job:error', ({ job, error }) => void this.errors.push({ job: job.id, error }))
  }

  static async of(fixture: Fixture, options: InProcessOptions): Promise<InProcess> {
    const {
      tasks,
      adapter: adapterOptions,
      db = fixture.db,
      monitor: monitorOptions,
      ...graphileOptions
    } = options
    const { preset, ...runnerOptions } = graphileOptions
    const adapter = graphileWorkerAdapter(adapterOptions)
    const monitor = new TaskMonitor({
      ...{ db, adapters: [adapter], heartbeatInterval: 200, orphanThreshold: 60_000 },
      ...{ sweepInterval: 200, logger: { warn: () => undefined, error: () => undefined } },
      ...monitorOptions,
    })
    const self = new InProcess(monitor, adapter)
    await monitor.start()
    const listening = once(self.events, 'pool:listen:success')
    const runner: Runner = await graphile.run({
      ...{ connectionString: fixture.database.url, events: self.events, noHandleSignals: true },
      ...{ concurrency: 1, pollInterval: 200, taskList: tasks(adapter) },
      logger: new graphile.Logger(() => (level, message) => {
        if (level === 'error' || level === 'warning') self.log.push(message)
      }),
      ...runnerOptions,
      preset: { ...preset, plugins: [adapter.plugin] },
    })
    self.stopRunner = () => runner.stop()
    runner.promise.catch((error: unknown) => self.log.push(`the runner ended: ${error}`))
    await listening
    return self
  }

  /** Nothing is left in flight that the drain would wait for. */
  async stopsAtOnce(): Promise<void> {
    const before = performance.now()
    await this.monitor.stop({ drain: DRAIN })
    expect(performance.now() - before).toBeLessThan(patience(DRAIN / 10))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.monitor.stop({ drain: 0 })
  }
}

import { Child, freshDatabase, type TestDatabase } from '@holdfast/chaos'
import { migrate, TaskMonitor, type TaskMonitorOptions } from '../../src/index.js'
import { fast } from './fast.js'
import type { HolderOptions } from './holder.js'
import { createTableQueue, tableQueueAdapter } from './table-queue.js'

/** A database with Holdfast's tables and the table queue; everything started through it ends with it. */
export class Fixture implements AsyncDisposable {
  readonly #disposables = new AsyncDisposableStackLike()

  private constructor(readonly database: TestDatabase) {
    this.#disposables.use(database)
  }

  static async create(serverUrl?: string, adminUrl?: string): Promise<Fixture> {
    const database = await freshDatabase(serverUrl, adminUrl)
    await migrate(database.db)
    await createTableQueue(database.db)
    return new Fixture(database)
  }

  get db(): TestDatabase['db'] {
    return this.database.db
  }

  monitor(options: Partial<TaskMonitorOptions> = {}): TaskMonitor {
    const monitor = new TaskMonitor({ db: this.db, adapters: [tableQueueAdapter()], ...fast, ...options })
    this.#disposables.use({ [Symbol.asyncDispose]: () => monitor.stop({ drain: 0 }) })
    return monitor
  }

  async started(options: Partial<TaskMonitorOptions> = {}): Promise<TaskMonitor> {
    const monitor = this.monitor(options)
    await monitor.start()
    return monitor
  }

  /** A child process that holds the given jobs. */
  async holder(
    options: Partial<HolderOptions> = {},
    script: 'holder' | 'blocked-holder' = 'holder',
  ): Promise<{ child: Child; processId: string }> {
    const child = this.#disposables.use(
      new Child(new URL(`./${script}.ts`, import.meta.url), {
        options: { url: this.database.url, ...options },
        threads: [new URL('../../src/heartbeat-worker.ts', import.meta.url)],
      }),
    )
    const { processId } = await child.message<{ processId: string }>('ready')
    return { child, processId }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#disposables.dispose()
  }
}

/** Node 20 has no AsyncDisposableStack. */
class AsyncDisposableStackLike {
  readonly #stack: AsyncDisposable[] = []

  use<T extends AsyncDisposable>(value: T): T {
    this.#stack.push(value)
    return value
  }

  async dispose(): Promise<void> {
    for (const value of this.#stack.splice(0).reverse()) await value[Symbol.asyncDispose]()
  }
}

export const refs = (count: number, prefix = 'job'): string[] =>
  Array.from({ length: count }, (_, n) => `${prefix}-${String(n).padStart(5, '0')}`)

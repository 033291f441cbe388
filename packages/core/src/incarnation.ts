import { sleep } from './clock.js'
import { TaskLostError } from './errors.js'
import { newProcessId } from './identity.js'
import { Lease } from './lease.js'
import type { MonitorConfig } from './options.js'
import type { Store } from './store/store.js'
import { touchTasks } from './store/tasks.js'
import { OwnTasks } from './task/own-tasks.js'
import { settleOwn } from './task/settle-own.js'
import type { TaskState } from './task/state.js'
import type { Task, TaskLife } from './task/task.js'
import { pauses, TaskWrites } from './task/task-writes.js'

/**
 * One life of this process under one process id: from its registration to its end or eviction. Tasks belong to the
 * incarnation that registered them, so nothing of an old life can touch a new one.
 */
export class Incarnation implements TaskLife {
  readonly processId: string = newProcessId()
  readonly lease: Lease
  readonly tasks = new OwnTasks()
  readonly writes: TaskWrites
  readonly #store: Store
  #ended = false
  #settling: Promise<void> | undefined
  #verdicts: { resolve(): void; reject(error: Error): void }[] = []

  constructor(store: Store, config: MonitorConfig) {
    this.#store = store
    this.lease = new Lease(config)
    this.writes = new TaskWrites(store, config, this.processId, this.tasks)
  }

  get ended(): boolean {
    return this.#ended
  }

  moved(task: Task, from: TaskState | undefined): void {
    if (!this.#ended) this.tasks.moved(task, from)
  }

  /**
   * Notes progress of tasks, by default of all that run; those that are lost abort. Answers how many are still this
   * process's.
   */
  async updateProgress(ids?: readonly string[]): Promise<number> {
    const asked = ids === undefined ? this.tasks.all() : ids.flatMap((id) => this.tasks.get(id) ?? [])
    // The row of one that the caller's transaction ends is locked by that, while it is open.
    await Promise.all(asked.map((task) => task.state === 'undecided' && this.writes.ask(task)))
    const running = asked.filter(({ state }) => state === 'begun')
    const touched = await touchTasks(
      this.#store,
      this.processId,
      running.map(({ nonce }) => nonce),
    )
    for (const { nonce, state, running: its } of running) {
      if (state === 'begun' && !touched.has(nonce)) its.controller.abort(this.lost())
    }
    return touched.size
  }

  /** Makes certain what is not: see `settleOwn`. One at a time: who asks meanwhile waits for the same. */
  settle(recover: (owner: string) => Promise<void>): Promise<void> {
    this.#settling ??= settleOwn(this, recover).finally(() => {
      this.#settling = undefined
    })
    return this.#settling
  }

  /** Resolves when all tasks have ended for certain, or `over` aborts. */
  async drained(over: AbortSignal): Promise<void> {
    for (const pause of pauses()) {
      await this.tasks.idle()
      // What rolls back is in flight again.
      await Promise.allSettled(this.tasks.in('undecided').map((task) => this.writes.ask(task)))
      if (over.aborted || (this.tasks.inFlight === 0 && this.tasks.undecided === 0)) return
      await sleep(pause, over)
    }
  }

  /** Resolves when heartbeats get through, if need be after the next one; rejects once this incarnation has ended. */
  confirm(): Promise<void> {
    if (this.#ended) return Promise.reject(this.lost())
    if (this.lease.confirmed) return Promise.resolve()
    return new Promise((resolve, reject) => this.#verdicts.push({ resolve, reject }))
  }

  /** A heartbeat succeeded: whoever waited to hear that this process lives may go on. */
  alive(): void {
    for (const { resolve } of this.#verdicts.splice(0)) resolve()
  }

  abort(reason: Error): void {
    for (const { running } of this.tasks.all()) running.controller.abort(reason)
  }

  /** Ends this life: every task aborts, everyone who waits is told. What is undecided is asked for by whoever waits for it. */
  end(reason: Error): void {
    this.#ended = true
    this.abort(reason)
    const all = this.tasks.all()
    this.tasks.clear()
    for (const task of all) {
      task.running.end()
      task.certain('lost') // Nobody repeats its write any more.
    }
    for (const { reject } of this.#verdicts.splice(0)) reject(reason)
  }

  lost(): TaskLostError {
    return new TaskLostError(
      `Process ${this.processId} was declared dead or has stopped: its tasks are recovered elsewhere. Discard the result.`,
    )
  }
}

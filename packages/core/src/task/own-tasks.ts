import { jobKey } from '../store/new-tasks.js'
import type { TaskState } from './state.js'
import type { Task } from './task.js'

/** The tasks of an incarnation that are not known to have ended: one map, and indexes of it by what is known of them. */
export class OwnTasks {
  readonly #byId = new Map<string, Task>()
  readonly #byState: Readonly<Record<Exclude<TaskState, 'ended'>, Set<Task>>> = {
    writing: new Set(),
    held: new Set(),
    begun: new Set(),
    ending: new Set(),
    undecided: new Set(),
    doubtful: new Set(),
  }
  /** The jobs of which an INSERT may have happened, or happen yet. */
  readonly #uncertainJobs = new Map<string, Set<Task>>()
  #waiting: (() => void)[] = []

  get(id: string): Task | undefined {
    return this.#byId.get(id)
  }

  all(): Task[] {
    return [...this.#byId.values()]
  }

  /** Those of this state. */
  in(state: Exclude<TaskState, 'ended'>): Task[] {
    return [...this.#byState[state]]
  }

  /** How many are in flight for certain: not those of which it is up to a transaction, or to a lost answer. */
  get inFlight(): number {
    const { writing, held, begun, ending } = this.#byState
    return writing.size + held.size + begun.size + ending.size
  }

  get undecided(): number {
    return this.#byState.undecided.size
  }

  get doubtful(): number {
    return this.#byState.doubtful.size
  }

  /** Whether an INSERT of this job may have happened, or happen yet, without anyone holding its task. */
  isUncertain(queue: string, jobRef: string): boolean {
    return this.#uncertainJobs.has(jobKey(queue, jobRef))
  }

  /** A task has come from one state into another; from none when it is new. */
  moved(task: Task, from: TaskState | undefined): void {
    const { state, id, queue, jobRef } = task
    if (from !== undefined && from !== 'ended') this.#byState[from].delete(task)
    if (state === 'ended') {
      if (this.#byId.get(id) === task) this.#byId.delete(id)
    } else {
      this.#byId.set(id, task)
      this.#byState[state].add(task)
    }
    if (jobRef !== null && (task.isUncertain || from === 'doubtful'))
      this.#noteUncertain(task, jobKey(queue, jobRef))
    if (this.#waiting.length > 0 && !this.#busy) for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** Forgets all of them: their process's life is over. */
  clear(): void {
    this.#byId.clear()
    for (const tasks of Object.values(this.#byState)) tasks.clear()
    this.#uncertainJobs.clear()
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** Resolves when none is in flight, nor owes its end to the database. */
  idle(): Promise<void> {
    return this.#busy ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve()
  }

  #noteUncertain(task: Task, key: string): void {
    const tasks = this.#uncertainJobs.get(key) ?? new Set()
    if (task.isUncertain) tasks.add(task)
    else tasks.delete(task)
    if (tasks.size > 0) this.#uncertainJobs.set(key, tasks)
    else this.#uncertainJobs.delete(key)
  }

  get #busy(): boolean {
    if (this.inFlight > 0) return true
    for (const task of this.#byState.doubtful) if (!task.isUncertain) return true
    return false
  }
}

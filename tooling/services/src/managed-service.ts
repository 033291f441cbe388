import { ServiceStartError, ServiceStopError } from './errors.js'
import { isFree } from './free-port.js'
import { logTail } from './log-tail.js'
import { freezeTree, isRunning, killTree, processTree, signal } from './process/process-tree.js'
import { describeExit, type SupervisedProcess } from './process/supervised-process.js'
import type { Supervisor } from './process/supervisor-client.js'
import type { ServicePlan } from './service-plan.js'
import type { ServiceSpec } from './spec.js'
import type { RunningService, StartContext, StopMode } from './types.js'
import { waitUntil } from './wait-until.js'

const READY_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 30_000

/** A server of our own: it can be stopped, killed, frozen and started again on the same port and data. */
export class ManagedService implements RunningService {
  readonly name: string
  readonly env: string
  readonly url: string
  readonly port: number
  readonly managed = true
  readonly #plan: ServicePlan
  readonly #supervisor: Supervisor
  readonly #context: StartContext
  #process: SupervisedProcess | undefined
  /** Processes that a stop was asked for: their end is no surprise. */
  readonly #expected = new WeakSet<SupervisedProcess>()
  #last: Promise<unknown> = Promise.resolve()

  constructor(
    spec: ServiceSpec,
    port: number,
    plan: ServicePlan,
    supervisor: Supervisor,
    context: StartContext,
  ) {
    this.name = spec.name
    this.env = spec.env
    this.port = port
    this.url = plan.url(port)
    this.#plan = plan
    this.#supervisor = supervisor
    this.#context = context
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  start(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#process) return
      // Whoever has taken the port may well answer as this server would.
      if (!(await isFree(this.port))) {
        throw new ServiceStartError(this.name, `${this.name} did not start: port ${this.port} is taken`)
      }
      const started = await this.#spawn()
      let answered = false
      const settled = async () => {
        answered = await this.#plan.answers(this.port)
        return answered || started.exit !== undefined
      }
      await waitUntil(settled, READY_TIMEOUT_MS)
      if (answered && !started.exit) return this.#watch(started)
      const reason = started.exit ? describeExit(started.exit) : `gave no answer in ${READY_TIMEOUT_MS} ms`
      await this.#end(started, this.#plan.immediateSignal)
      const log = await logTail(this.#plan.logFile)
      throw new ServiceStartError(
        this.name,
        `${this.name} did not start on port ${this.port}: it ${reason}. Its log ends with:\n${log}`,
      )
    })
  }

  stop(mode: StopMode = 'fast'): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#process) return
      await this.#end(this.#process, mode === 'fast' ? this.#plan.fastSignal : this.#plan.immediateSignal)
    })
  }

  kill(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#process) return
      await this.#end(this.#process, 'SIGKILL')
      await this.#plan.afterKill?.()
    })
  }

  pause(): Promise<void> {
    return this.#inTurn(async () => {
      await freezeTree(this.#alive('pause').pid)
    })
  }

  resume(): Promise<void> {
    return this.#inTurn(async () => signal(await processTree(this.#alive('resume').pid), 'SIGCONT'))
  }

  async #spawn(): Promise<SupervisedProcess> {
    const { command, cwd, env, uid, gid, logFile, immediateSignal } = this.#plan
    await this.#plan.beforeStart?.(this.port)
    const args = this.#plan.args(this.port)
    const started = await this.#supervisor.spawn({
      command,
      args,
      cwd,
      env,
      uid,
      gid,
      logFile,
      endSignal: immediateSignal,
    })
    this.#process = started
    return started
  }

  #watch(started: SupervisedProcess): void {
    void started.exited.then((exit) => {
      this.#forget(started)
      if (this.#expected.has(started) || this.#supervisor.closing) return
      this.#context.log(
        `${this.name} (process ${started.pid}) ${describeExit(exit)} although nobody stopped it`,
      )
    })
  }

  async #end(server: SupervisedProcess, name: NodeJS.Signals): Promise<void> {
    // The operating system may have given its id to another process since.
    if (server.exit) return this.#forget(server)
    this.#expected.add(server)
    const tree = await processTree(server.pid)
    if (name === 'SIGKILL') await killTree(server.pid)
    else {
      signal([server.pid], name)
      // It may be paused; then it takes the signal when it goes on.
      signal(tree, 'SIGCONT')
    }
    const ended = async () =>
      server.exit !== undefined && (await Promise.all(tree.map(isRunning))).every((alive) => !alive)
    if (await waitUntil(ended, STOP_TIMEOUT_MS)) return this.#forget(server)
    this.#context.log(`${this.name} is still there ${STOP_TIMEOUT_MS} ms after ${name}: it is killed`)
    await killTree(server.pid)
    signal(tree, 'SIGKILL')
    if (await waitUntil(ended, STOP_TIMEOUT_MS)) return this.#forget(server)
    throw new ServiceStopError(this.name, `${this.name} (process ${server.pid}) is still there after SIGKILL`)
  }

  #forget(ended: SupervisedProcess): void {
    if (this.#process === ended) this.#process = undefined
  }

  #alive(action: string): SupervisedProcess {
    if (this.#process) return this.#process
    throw new ServiceStopError(this.name, `cannot ${action} ${this.name}: it is not running`)
  }

  /** One action after the other, whoever asks, and the caller's process stays alive meanwhile. */
  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => this.#supervisor.hold(action()))
    // A failed action is its caller's concern, not that of the next one in the row.
    this.#last = turn.catch((error: unknown) => error)
    return turn
  }
}

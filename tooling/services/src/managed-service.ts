import { ServiceStartError, ServiceStopError } from './errors.js'
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
      const started = await this.#spawn()
      let answered = false
      const settled = async () => {
        answered = await this.#plan.answers(this.port)
        return answered || started.exit !== undefined
      }
      const inTime = await waitUntil(settled, READY_TIMEOUT_MS)
      if (answered && !started.exit) return
      const reason =
        inTime && started.exit ? describeExit(started.exit) : `gave no answer in ${READY_TIMEOUT_MS} ms`
      await this.#end(started, 'SIGKILL')
      throw new ServiceStartError(
        this.name,
        `${this.name} did not start on port ${this.port}: it ${reason}. Its log ends with:\n${await logTail(this.#plan.logFile)}`,
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
    void started.exited.then((exit) => {
      if (this.#process === started) this.#process = undefined
      if (!this.#expected.has(started) && !this.#supervisor.closing) {
        this.#context.log(
          `${this.name} (process ${started.pid}) ${describeExit(exit)} although nobody stopped it`,
        )
      }
    })
    return started
  }

  async #end(server: SupervisedProcess, name: NodeJS.Signals): Promise<void> {
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
    if (await waitUntil(ended, STOP_TIMEOUT_MS)) return
    this.#context.log(`${this.name} is still there ${STOP_TIMEOUT_MS} ms after ${name}: it is killed`)
    await killTree(server.pid)
    signal(tree, 'SIGKILL')
    if (await waitUntil(ended, STOP_TIMEOUT_MS)) return
    throw new ServiceStopError(this.name, `${this.name} (process ${server.pid}) is still there after SIGKILL`)
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

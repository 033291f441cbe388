import { resolve } from 'node:path'
import { MessageChannel, type MessagePort, receiveMessageOnPort, type Worker } from 'node:worker_threads'
import { jittered, monotonicNow } from './clock.js'
import { messageOf } from './events.js'
import {
  type HeartbeatOrder,
  type HeartbeatReport,
  type HeartbeatThreadData,
  sharedNow,
} from './heartbeat-protocol.js'
import type { MonitorConfig, StoreOptions } from './options.js'
import { startHeartbeatWorker } from './start-heartbeat-worker.js'

const LONGEST_BACKOFF = 60_000

/** Milliseconds that a stopped thread has to end by itself. */
const STOP_TIMEOUT = 1_000

export interface HeartbeatThreadHooks {
  /** The process that beats now. */
  processId(): string
  /** The thread sent a heartbeat for it at `sentAt` (of this thread's monotonic clock). */
  onBeat(sentAt: number, databaseMs: number): void
  /** By what the thread sees in its database the process is no longer alive; `disproved` when that isn't so. */
  onGone(): void
  /** It does not beat, or no longer. Told once until it beats again. */
  onFailed(error: Error): void
}

/** A thread that beats while the event loop of this one is blocked. Started again when it dies. */
export class HeartbeatThread {
  readonly #config: MonitorConfig
  readonly #connection: string
  readonly #place: StoreOptions
  readonly #lastRun: SharedArrayBuffer
  readonly #hooks: HeartbeatThreadHooks
  #worker: Worker | undefined
  #port: MessagePort | undefined
  #restart: NodeJS.Timeout | undefined
  #deaths = 0
  #failing = false
  #catchingUp = false
  #following = ''
  #disputed: string | undefined
  #lastBeat = Number.NEGATIVE_INFINITY

  constructor(
    config: MonitorConfig,
    connection: string | URL,
    place: StoreOptions,
    lastRun: SharedArrayBuffer,
    hooks: HeartbeatThreadHooks,
  ) {
    this.#config = config
    this.#connection = String(connection)
    this.#place = place
    this.#lastRun = lastRun
    this.#hooks = hooks
  }

  /** Milliseconds until the main thread has to beat itself, unless the thread is heard of again; 0 or less: now. */
  restsFor(): number {
    return this.#lastBeat + 1.5 * this.#config.heartbeatInterval - monotonicNow()
  }

  start(): void {
    this.#following = this.#hooks.processId()
    const { port1, port2 } = new MessageChannel()
    const { heartbeatInterval, orphanThreshold, maxLoopBlock } = this.#config
    const data: HeartbeatThreadData = {
      processId: this.#following,
      connection: this.#connection,
      application: resolve(process.argv[1] ?? 'repl'),
      place: this.#place,
      times: { heartbeatInterval, orphanThreshold, maxLoopBlock },
      lastRun: this.#lastRun,
      port: port2,
    }
    let worker: Worker
    try {
      worker = startHeartbeatWorker({
        name: 'holdfast-heartbeat',
        workerData: data,
        transferList: [port2],
      })
    } catch (error) {
      // Node's permission model for instance allows no threads.
      this.#died(error)
      return
    }
    this.#worker = worker
    this.#port = port1
    port1.on('message', (report: HeartbeatReport) => this.#heard(report))
    port1.unref()
    worker.unref()
    let cause: unknown
    worker.on('error', (error) => {
      cause = error
    })
    worker.once('exit', (code) => {
      if (this.#worker === worker) this.#died(cause ?? new Error(`it exited with code ${code}`))
    })
  }

  /** Takes in the reports that are waiting, without waiting for the event loop to bring them. */
  catchUp(): void {
    const port = this.#port
    if (port === undefined || this.#catchingUp) return
    this.#catchingUp = true
    for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
      this.#heard(next.message as HeartbeatReport)
    }
    this.#catchingUp = false
  }

  /** Beats for the present incarnation from now on. */
  follow(): void {
    const processId = this.#hooks.processId()
    if (processId === this.#following) return
    this.#following = processId
    this.#order({ kind: 'beat', processId })
  }

  /** What the thread said of the process is not so: the process is alive. */
  disproved(processId: string): void {
    if (this.#disputed !== processId) return
    this.#disputed = undefined
    this.#fails(
      new Error(
        `the heartbeat thread finds no living process ${processId}: heartbeatConnection must lead to the same database ` +
          'and schema as db',
      ),
    )
  }

  async stop(): Promise<void> {
    clearTimeout(this.#restart)
    const worker = this.#worker
    this.#worker = undefined
    if (worker === undefined) return
    this.#order({ kind: 'stop' })
    this.#port = undefined
    await new Promise<void>((ended) => {
      const timer = setTimeout(() => void worker.terminate(), STOP_TIMEOUT)
      worker.once('exit', () => {
        clearTimeout(timer)
        ended()
      })
    })
  }

  #order(order: HeartbeatOrder): void {
    this.#port?.postMessage(order)
  }

  #heard(report: HeartbeatReport): void {
    if (this.#worker === undefined) return
    if (report.kind === 'failed') {
      this.#fails(new Error(report.error))
      return
    }
    const { processId, databaseMs } = report
    if (processId !== this.#hooks.processId()) return
    if (databaseMs === null) {
      this.#lastBeat = Number.NEGATIVE_INFINITY
      this.#disputed = processId
      this.#hooks.onGone()
      return
    }
    // Its own clock is read first: should this thread be held up in between, the beat counts as older, never as newer.
    const sentAt = monotonicNow() - (sharedNow() - report.sentAt)
    this.#lastBeat = Math.max(this.#lastBeat, sentAt)
    this.#failing = false
    this.#deaths = 0
    this.#disputed = undefined
    this.#hooks.onBeat(sentAt, databaseMs)
  }

  #died(cause: unknown): void {
    this.catchUp()
    this.#port?.close()
    this.#port = undefined
    this.#worker = undefined
    const backoff = Math.min(this.#config.heartbeatInterval * 2 ** this.#deaths, LONGEST_BACKOFF)
    this.#deaths += 1
    this.#failing = false
    this.#fails(
      new Error(`the heartbeat thread died, and starts again in about ${backoff} ms: ${messageOf(cause)}`, {
        cause,
      }),
    )
    this.#restart = setTimeout(() => this.start(), jittered(backoff))
    this.#restart.unref()
  }

  #fails(error: Error): void {
    this.#lastBeat = Number.NEGATIVE_INFINITY
    if (this.#failing) return
    this.#failing = true
    this.#hooks.onFailed(error)
  }
}

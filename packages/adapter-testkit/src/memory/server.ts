import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { JobTable } from './job-table.js'

/** How long a worker's question for a job is kept open, in ms. */
const LONG_POLL = 250

/**
 * A small job queue that lives in this process's memory and is spoken to over HTTP: the queue of the reference adapter. It
 * outlives its workers, as a queue does, and has what most queues have: priorities, delays, attempts, a token for each run.
 */
export class MemoryQueueServer implements AsyncDisposable {
  /** What it holds. */
  readonly jobs = new JobTable()
  readonly #server: Server
  #waiting: (() => void)[] = []

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: Error) => {
        response.writeHead(400).end(JSON.stringify({ error: error.message }))
      })
    })
  }

  /** Starts one on a free port of this machine. */
  static async start(): Promise<MemoryQueueServer> {
    const queue = new MemoryQueueServer()
    queue.#server.listen(0, '127.0.0.1')
    await once(queue.#server, 'listening')
    return queue
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const operation = request.url!.slice(1)
    const args = (await json(request)) as never
    if (operation === 'take') return this.#take(response)
    if (!isOperation(operation)) throw new Error(`the queue has no ${JSON.stringify(operation)}`)
    const answer = this.jobs[operation](args)
    for (const wake of this.#waiting.splice(0)) wake()
    response.end(JSON.stringify(answer ?? null))
  }

  /** Answers a job as soon as there is one; none after a while. */
  async #take(response: ServerResponse): Promise<void> {
    const end = performance.now() + LONG_POLL
    while (!response.destroyed && performance.now() < end) {
      const job = this.jobs.take()
      if (job !== undefined) return void response.end(JSON.stringify(job))
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
        setTimeout(resolve, 50)
      })
    }
    response.end('null')
  }
}

const OPERATIONS = ['add', 'complete', 'fail', 'bury', 'release', 'restore', 'list', 'remove'] as const

const isOperation = (name: string): name is (typeof OPERATIONS)[number] =>
  (OPERATIONS as readonly string[]).includes(name)

import type { BeeQueueInternals, RedisClient } from './bee-queue.js'

/** Longest pause between tries to reach Redis, in ms. */
const MAX_PAUSE = 1_000

const pause = (attempt: number): number => Math.min(attempt * 50, MAX_PAUSE)

/** For node_redis and ioredis: try for ever, and leave to us what was in flight when the connection broke. */
const PATIENT = {
  retry_strategy: ({ attempt }: { attempt: number }) => pause(attempt),
  retryStrategy: pause,
  maxRetriesPerRequest: null,
  autoResendUnfulfilledCommands: false,
}

/** Runs a script on the keys with this prefix. */
export const runScript = (
  client: RedisClient,
  script: string,
  prefix: string,
  args: readonly (string | number)[] = [],
): Promise<unknown> =>
  new Promise((resolve, reject) => {
    client.eval([script, 1, prefix, ...args], (error, reply) => (error ? reject(error) : resolve(reply)))
  })

/**
 * The adapter's own connection to a queue's Redis: it outlives the queue's `close()`, and waits for a Redis that is
 * away. Scripts go as text, since a restarted or failed-over Redis has forgotten those that it was taught.
 */
export class RedisLink {
  readonly #prefix: string
  readonly #client: Promise<RedisClient>
  #closed = false

  /** `onReady` is called at each connection, the first included. */
  constructor(queue: BeeQueueInternals, onReady: (client: RedisClient) => void) {
    this.#prefix = queue.settings.keyPrefix
    this.#client = queue.ready().then(() => {
      const client = queue.client!.duplicate(PATIENT)
      client.on('error', () => undefined) // Each command fails with it, and the queue's own connection reports it.
      client.on('ready', () => onReady(client))
      return client
    })
    this.#client.catch(() => undefined) // Whoever runs a script hears of it.
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Runs a script on the queue's keys. Waits while Redis is away; rejects when the connection breaks meanwhile. */
  async run(script: string, ...args: readonly (string | number)[]): Promise<unknown> {
    return runScript(await this.#client, script, this.#prefix, args)
  }

  /** Has a connection that waits for a job go on without. */
  async unblock(clientId: string): Promise<void> {
    const client = await this.#client
    // Where Redis refuses or is away, whoever waits for it goes on after a while.
    await new Promise<void>((resolve) => client.client('unblock', clientId, () => resolve()))
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const client = await this.#client.catch(() => undefined) // Never connected.
    await new Promise<void>((resolve) => (client === undefined ? resolve() : client.quit(() => resolve())))
  }
}

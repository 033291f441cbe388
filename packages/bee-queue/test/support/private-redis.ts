import { createRequire } from 'node:module'
import { type RunningService, type Services, startServices } from '@holdfast/services'

const { createClient } = createRequire(import.meta.url)('redis')

/** A Redis of a test's own, to be killed and started again. */
export class PrivateRedis implements AsyncDisposable {
  readonly server: RunningService
  readonly #services: Services

  private constructor(services: Services) {
    this.#services = services
    this.server = services.get('redis')
  }

  static async create({ persistent = true } = {}): Promise<PrivateRedis> {
    const redis = new PrivateRedis(await startServices(['redis'], { private: true, durable: persistent }))
    // From now on nothing is written to disk, so it comes back as empty as it is.
    if (!persistent) await redis.command('config', 'set', 'appendonly', 'no')
    return redis
  }

  get url(): string {
    return this.server.url
  }

  /** SIGKILL, and up again on the same port. */
  async restart(): Promise<void> {
    await this.server.stop('immediate')
    await this.server.start()
  }

  async command(name: string, ...args: (string | number)[]): Promise<unknown> {
    const client = createClient({ url: this.url })
    try {
      return await new Promise((resolve, reject) => {
        client.on('error', reject)
        client[name](...args, (error: Error | null, reply: unknown) =>
          error ? reject(error) : resolve(reply),
        )
      })
    } finally {
      client.end(true)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#services.stop()
  }
}

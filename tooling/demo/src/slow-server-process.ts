import { Child } from '@holdfast/chaos'

/** The slow HTTP server, as a process of its own. */
export class SlowServer implements AsyncDisposable {
  private constructor(
    readonly url: string,
    readonly child: Child,
  ) {}

  static async start(): Promise<SlowServer> {
    const child = new Child(new URL('./slow-server.js', import.meta.url), { execArgv: [] })
    try {
      const { url } = await child.message<{ url: string }>('ready')
      return new SlowServer(url, child)
    } catch (error) {
      await child[Symbol.asyncDispose]()
      throw error
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.child[Symbol.asyncDispose]()
  }
}

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

type State = 'open' | 'cut' | 'frozen'

/** Stands before a queue: can refuse connections, and can fall silent. */
export class QueueProxy implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #state: State = 'open'

  private constructor(hostname: string, port: number) {
    this.#server = createServer((client) => {
      if (this.#state === 'cut') return void client.destroy()
      const server = connect(port, hostname)
      for (const socket of [client, server]) {
        this.#sockets.add(socket)
        socket.on('error', () => undefined)
        socket.on('close', () => {
          this.#sockets.delete(socket)
          client.destroy()
          server.destroy()
        })
      }
      this.#pass(client, server)
      this.#pass(server, client)
    })
  }

  static async to(url: string): Promise<{ proxy: QueueProxy; url: string }> {
    const through = new URL(url)
    const proxy = new QueueProxy(through.hostname, Number(through.port))
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    through.hostname = '127.0.0.1'
    through.port = String((proxy.#server.address() as AddressInfo).port)
    return { proxy, url: through.href }
  }

  /** Ends all connections and refuses new ones. */
  cut(): void {
    this.#state = 'cut'
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Lets nothing through any more, and tells nobody. */
  freeze(): void {
    this.#state = 'frozen'
  }

  /** Lets all through again; what was frozen arrives late. */
  mend(): void {
    this.#state = 'open'
    this.#server.emit('mended')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #pass(from: Socket, to: Socket): void {
    from.on('end', () => to.end())
    from.on('data', (chunk) => {
      if (this.#state !== 'frozen') return void to.write(chunk)
      from.pause()
      const thaw = (): void => {
        to.write(chunk)
        from.resume()
      }
      this.#server.once('mended', thaw)
      from.once('close', () => this.#server.off('mended', thaw))
    })
  }
}

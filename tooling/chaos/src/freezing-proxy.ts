import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Stands between a pool and its server, and can make the connections there are fall silent while new ones work. */
export class FreezingProxy implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #frozen = new Set<Socket>()

  private constructor(server: Server) {
    this.#server = server
  }

  /** Answers the proxy and the URL of the database through it. */
  static async to(url: string): Promise<{ proxy: FreezingProxy; url: string }> {
    const { hostname, port } = new URL(url)
    const server = createServer()
    const proxy = new FreezingProxy(server)
    server.on('connection', (client) => proxy.#join(client, connect(Number(port), hostname)))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const through = new URL(url)
    through.hostname = '127.0.0.1'
    through.port = String((server.address() as AddressInfo).port)
    return { proxy, url: through.href }
  }

  /** Nothing passes through the present connections any more, and nobody is told. */
  freeze(): void {
    for (const socket of this.#sockets) {
      socket.unpipe()
      socket.pause()
      this.#frozen.add(socket)
    }
  }

  /** Ends the frozen connections. */
  breakFrozen(): void {
    for (const socket of this.#frozen) socket.destroy()
    this.#frozen.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #join(client: Socket, server: Socket): void {
    client.pipe(server)
    server.pipe(client)
    for (const socket of [client, server]) {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => this.#sockets.delete(socket))
    }
  }
}

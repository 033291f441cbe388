import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/**
 * Stands between a pool and its Postgres, and breaks connections at commits: the server has done them, or never hears of
 * them, and the client can't tell.
 */
export class LostAnswers implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #after = /$^/
  #isDone = true
  #left = 0

  private constructor(server: Server) {
    this.#server = server
  }

  /** Answers it and the URL of the database through it. */
  static async to(url: string): Promise<{ answers: LostAnswers; url: string }> {
    const { hostname, port } = new URL(url)
    const server = createServer()
    const answers = new LostAnswers(server)
    server.on('connection', (client) => answers.#join(client, connect(Number(port), hostname)))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const through = new URL(url)
    through.hostname = '127.0.0.1'
    through.port = String((server.address() as AddressInfo).port)
    return { answers, url: through.href }
  }

  /**
   * The next `count` commits of transactions that have sent such a statement are not answered.
   *
   * @param isDone whether they come to the server
   */
  lose(count: number, after: RegExp, isDone: boolean): void {
    this.#left = count
    this.#after = after
    this.#isDone = isDone
  }

  /** How many answers are to be lost yet. */
  get left(): number {
    return this.#left
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #join(client: Socket, server: Socket): void {
    let isMeant = false
    let isMute = false
    client.on('data', (data) => {
      const text = data.toString('latin1')
      if (/begin|start transaction/i.test(text)) isMeant = false
      if (this.#after.test(text)) isMeant = true
      if (isMeant && this.#left > 0 && /commit/i.test(text)) {
        this.#left -= 1
        isMute = true
        if (!this.#isDone) return void client.destroy()
      }
      server.write(data)
    })
    server.on('data', (data) => {
      if (isMute) client.destroy()
      else client.write(data)
    })
    client.on('close', () => server.destroy())
    server.on('close', () => client.destroy())
    for (const socket of [client, server]) {
      this.#sockets.add(socket)
      socket.on('error', () => undefined) // Told to the client by the close.
      socket.on('close', () => this.#sockets.delete(socket))
    }
  }
}

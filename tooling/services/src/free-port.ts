import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/*
 * Below the ports that operating systems give to outgoing connections. While a server is stopped, a client that
 * keeps reconnecting could otherwise be given that very port as its own, and even connect to itself.
 */
const LOWEST = 12_000
const HIGHEST = 32_000

export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(LOWEST, HIGHEST)
    if (await isFree(port)) return port
  }
}

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false)
      else reject(error)
    })
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}

import { connect } from 'node:net'

/**
 * Connects, says `greeting` if there is one, and gives the first bytes that come back; undefined when nobody
 * listens, or the other side hangs up or stays silent. So a server is asked whether it is ready, without its client.
 */
export function firstBytes(port: number, greeting?: Buffer, timeoutMs = 2_000): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    const finish = (bytes?: Buffer) => {
      socket.destroy()
      resolve(bytes)
    }
    socket.setTimeout(timeoutMs, () => finish())
    socket.once('connect', () => greeting && socket.write(greeting))
    socket.once('data', finish)
    // A refused connection is an answer here: not ready yet.
    socket.once('error', () => finish())
    socket.once('close', () => finish())
  })
}

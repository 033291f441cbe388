import { Socket } from 'node:net'

/**
 * Has this process kill itself before its `count`-th next write to any socket: between two statements, whatever the
 * database and whatever the queue.
 */
export function dieAtWrite(count: number): void {
  let left = count
  const write = Socket.prototype.write
  Socket.prototype.write = function (this: Socket, ...args: unknown[]): boolean {
    left -= 1
    if (left <= 0) {
      process.kill(process.pid, 'SIGKILL')
      return false // What follows until the signal arrives is not sent either.
    }
    return (write as (...args: unknown[]) => boolean).apply(this, args)
  } as typeof write
}

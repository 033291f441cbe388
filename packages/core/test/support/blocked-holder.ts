// A holder whose event loop can be blocked until a file appears: no message would reach it.
import { existsSync } from 'node:fs'
import './holder.js'

export interface BlockOrder {
  /** Milliseconds at least. */
  readonly blockFor: number
  /** The file that ends the block. */
  readonly until: string
}

process.on('message', (message: BlockOrder | string) => {
  if (typeof message === 'string' || !('blockFor' in message)) return
  const end = performance.now() + message.blockFor
  while (performance.now() < end || !existsSync(message.until));
  process.send?.({ type: 'unblocked' })
})

import { setMaxListeners } from 'node:events'
import {
  DatabaseError,
  LeaseExpiredError,
  StoppedError,
  TaskLostError,
  TaskOverdueError,
} from '@holdfast/core'
import type { BossJob } from './boss.js'
import type { Delivery } from './delivery.js'
import { failureOf } from './payloads.js'
import type { ProtectedBoss } from './protected-boss.js'

/** What a handler came to. */
export type Outcome = { readonly result: unknown } | { readonly error: unknown }

/**
 * Resolves when the handler has ended; or when the monitor has stopped, whether it listens or not: what it held is given
 * back, and pg-boss, which fails what still runs when it stops in turn, must not find it.
 */
export async function outcomeOf(handler: () => unknown, deliveries: readonly Delivery[]): Promise<Outcome> {
  const over = new AbortController()
  // Every job of the batch listens.
  setMaxListeners(0, over.signal)
  const stopped = new Promise<never>((_, reject) => {
    for (const { row } of deliveries) {
      const look = (): void => {
        if (StoppedError.is(row.signal.reason)) reject(row.signal.reason)
      }
      look()
      row.signal.addEventListener('abort', look, { signal: over.signal })
    }
  })
  stopped.catch(() => undefined) // Raced below.
  try {
    return { result: await Promise.race([handler(), stopped]) }
  } catch (error) {
    return { error }
  } finally {
    over.abort()
  }
}

/** A handler that was told to end, and threw, has not failed: its job goes on elsewhere. */
export async function isCutShort({ report }: ProtectedBoss, { row }: Delivery): Promise<boolean> {
  const { aborted, reason } = row.signal
  if (!aborted || TaskOverdueError.is(reason)) return false
  if (LeaseExpiredError.is(reason)) {
    await row.release().catch((error) => {
      // Repeated with every heartbeat, and no reason to forget the rest of the batch.
      if (DatabaseError.is(error)) report(error)
      else if (!TaskLostError.is(error)) throw error
    })
  }
  return true
}

/** What a handler threw after it had ended its job or given it back, which nothing else is done about. */
export function tellAfterEnd(
  { report }: ProtectedBoss,
  { id, name }: BossJob,
  became: 'completed' | 'released',
  error: unknown,
): void {
  const { message } = failureOf(error)
  const what =
    became === 'completed'
      ? 'had ended before its handler threw, which changes nothing'
      : 'was given back before its handler threw; it runs again'
  report(new Error(`Job ${id} of ${name} ${what}: ${message}`, { cause: error }))
}

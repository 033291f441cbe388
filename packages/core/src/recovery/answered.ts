import type { QueueAdapter } from '../adapter.js'
import { AdapterTimeoutError } from '../errors.js'
import type { MonitorConfig } from '../options.js'
import { withTimeout } from '../timeout.js'

/**
 * Waits for what an adapter does: a queue that hangs must not hold up this process's sweeps for ever.
 *
 * @throws AdapterTimeoutError after `gcLockTtl`
 */
export function answered<T>(
  { adapter, config }: { readonly adapter: QueueAdapter; readonly config: MonitorConfig },
  does: string,
  answer: Promise<T>,
): Promise<T> {
  const what = `adapter ${JSON.stringify(adapter.name)} ${does}`
  return withTimeout(answer, config.gcLockTtl, what, AdapterTimeoutError)
}

import { setTimeout as delay } from 'node:timers/promises'
import type { TaskHandle } from '@holdfast/core'
import { doDeed, type HandlerParts } from './deeds.js'
import type { Work } from './setup.js'

/** A gate that opens for one process alone. */
export const gateOf = (gate: string, pid: number): string => `${gate}-${pid}`

/** What a handler is given beside its job. */
export interface Given {
  readonly signal: AbortSignal | undefined
  readonly task: TaskHandle | undefined
}

/** What every job of the tests does: it tells the ledger, and waits for its gate. */
export async function doWork(parts: HandlerParts, work: Work, { signal, task }: Given): Promise<void> {
  const { ledger } = parts
  const { key, gate, listens, fails = 0, kill, deed, body } = work
  const note = (what: string, detail?: unknown): void => ledger.note({ what, job: key, detail })
  note('start', body === undefined ? undefined : { body })
  if (kill) {
    process.kill(process.pid, 'SIGKILL')
    await new Promise(() => undefined)
  }
  signal?.addEventListener('abort', () => note('aborted', codeOf(signal.reason)))
  if (signal?.aborted) note('aborted', codeOf(signal.reason))
  if (deed !== undefined && ledger.entries('start', key).length === 1) {
    note('deed', task === undefined ? 'impossible' : deed)
    if (task !== undefined) await doDeed(deed, { ...parts, work, task }).finally(() => note('done'))
    return
  }
  while (gate !== undefined && !ledger.isOpen(gate) && !ledger.isOpen(gateOf(gate, process.pid))) {
    if (listens && signal?.aborted) {
      note('cut short')
      throw signal.reason
    }
    await delay(20)
  }
  if (ledger.entries('start', key).length <= fails) throw new Error(`fails as it was told: ${key}`)
  note('finish')
}

const codeOf = (reason: unknown): string => String((reason as { code?: unknown } | undefined)?.code ?? reason)

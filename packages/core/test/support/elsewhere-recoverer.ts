// A process that recovers for a queue elsewhere, and kills or pauses itself in the middle of it.
import { childOptions, connect } from '@holdfast/chaos'
import { TaskMonitor, type TaskMonitorOptions } from '../../src/index.js'
import { elsewhereAdapter, type Point } from './elsewhere.js'
import { mortal } from './fast.js'

export interface RecovererOptions {
  readonly url: string
  readonly queueUrl: string
  readonly naive?: boolean
  readonly renames?: boolean
  readonly guards?: boolean
  /** Where, the first time it comes there. */
  readonly at?: Point
  readonly signal?: 'SIGKILL' | 'SIGSTOP'
  /** The jobs it takes. */
  readonly refs?: readonly string[]
  readonly monitor?: Partial<TaskMonitorOptions>
}

const options: RecovererOptions = childOptions()
const { url, queueUrl, naive = false, renames = false, guards = false, at, signal, refs = [] } = options
let came = false
const send = (message: object): void => void process.send?.(message)
const adapter = elsewhereAdapter(connect(queueUrl, 2), {
  naive,
  renames,
  guards,
  async at(point, jobs) {
    if (point !== at || signal === undefined || came) return
    came = true
    // Heard before it happens: a killed process sends nothing more.
    await new Promise<void>((resolve) =>
      process.send!({ type: 'there', recoveryIds: jobs.map(({ recoveryId }) => recoveryId) }, () =>
        resolve(),
      ),
    )
    process.kill(process.pid, signal)
  },
})
const monitor = new TaskMonitor({ db: connect(url), adapters: [adapter], ...mortal, ...options.monitor })
monitor.on('recovered', (event) => send({ type: 'recovered', ...event }))
monitor.on('recoveryFailed', (event) => send({ type: 'recoveryFailed', ...event }))
monitor.on('evicted', (event) => send({ type: 'evicted', ...event }))
await monitor.start()
const held = await Promise.all(refs.map((jobRef) => monitor.register({ payload: { jobRef }, jobRef })))
process.on('message', async (message) => {
  if (message === 'complete') {
    const results = await Promise.allSettled(held.map((task) => task.complete()))
    const codes = results.map((r) => (r.status === 'fulfilled' ? 'ok' : (r.reason.code as string)))
    send({ type: 'completed', codes })
  }
  if (message === 'stop') {
    await monitor.stop({ drain: 0 })
    send({ type: 'stopped' })
  }
})
send({ type: 'ready', processId: monitor.processId })

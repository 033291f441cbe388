import { setTimeout as delay } from 'node:timers/promises'
import { endsInTime, type Fleet, type Slot } from './fleet.js'
import { note } from './ledger.js'

/** Harm to what all of them need, by its name. */
export type HarmToAll = Readonly<Record<string, () => Promise<void>>>

export interface HarmOptions {
  readonly fleet: Fleet
  /** The workers' `orphanThreshold`. */
  readonly lease: number
  readonly toAll: HarmToAll
  readonly signal: AbortSignal
  readonly log: (text: string) => void
}

/** How often each kind of harm to a worker comes for one that harms all, once all kinds have come. */
const WEIGHTS = { kill: 15, pause: 2, stop: 2 }

export const random = (from: number, to: number): number => from + Math.random() * (to - from)
const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(Math.random() * list.length)]

/** Does harm until `signal` aborts, and then waits for what it has begun. Entries stand around each deed. */
export async function doHarm({ fleet, lease, toAll, signal, log }: HarmOptions): Promise<void> {
  async function kill({ child }: Slot): Promise<void> {
    log(`SIGKILL: worker ${child.pid}`)
    note('killing', { worker: child.pid })
    await child.kill()
    note('killed', { worker: child.pid })
  }
  /** For longer than its lease, so that its jobs are taken from it while it sleeps. */
  async function pause(slot: Slot): Promise<void> {
    const { child } = slot
    const time = lease + random(500, 2_000)
    log(`SIGSTOP: worker ${child.pid}, for ${(time / 1_000).toFixed(1)} s`)
    note('pausing', { worker: child.pid })
    child.pause()
    await delay(time)
    child.resume()
    note('resumed', { worker: child.pid })
    log(`SIGCONT: worker ${child.pid}`)
    slot.harmed = false
  }
  async function stop({ child }: Slot): Promise<void> {
    log(`SIGTERM: worker ${child.pid}`)
    note('stopping', { worker: child.pid })
    child.process.kill('SIGTERM')
    if (!(await endsInTime(child))) {
      throw new Error(`worker ${child.pid} did not stop in time. It wrote:\n${child.output}`)
    }
    note('stopped', { worker: child.pid })
  }
  const takesOneAway: Readonly<Record<string, (slot: Slot) => Promise<void>>> = { pause, stop }

  const weights = { ...WEIGHTS, ...Object.fromEntries(Object.keys(toAll).map((kind) => [kind, 1])) }
  const weighted = Object.entries(weights).flatMap(([kind, weight]) => Array<string>(weight).fill(kind))
  const deck = ['kill', ...Object.keys(toAll), 'pause', 'stop']
  /** What goes on beside the kills: one of each kind, and one worker that is away, so that others are left. */
  const underWay = new Map<string, Promise<void>>()
  let failure: unknown
  const begin = (name: string, deed: () => Promise<void>): void => {
    const doing = deed()
      .catch((error) => {
        failure ??= error
      })
      .finally(() => underWay.delete(name))
    underWay.set(name, doing)
  }
  /** False when it is not its time. */
  async function harm(kind: string): Promise<boolean> {
    const all = toAll[kind]
    if (all !== undefined) {
      if (underWay.has(kind)) return false
      begin(kind, all)
      return true
    }
    const away = takesOneAway[kind]
    if (away !== undefined && underWay.has('away')) return false
    const slot = pick(fleet.unharmed)
    if (slot === undefined) return false
    slot.harmed = true
    if (away === undefined) await kill(slot)
    else begin('away', () => away(slot))
    return true
  }

  while (!signal.aborted && failure === undefined) {
    const next = deck[0]
    if (await harm(next ?? pick(weighted)!)) deck.shift()
    else await harm('kill')
    await delay(random(400, 1_600), undefined, { signal }).catch(() => undefined)
  }
  await Promise.all(underWay.values())
  if (failure !== undefined) throw failure
}

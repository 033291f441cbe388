import type { WorkerState } from '../database/snapshot.js'
import { seconds } from '../result/words.js'
import type { Picture } from './view.js'

export type Tone = 'good' | 'waiting' | 'bad'

/** What there is to say about a worker at this moment. */
export function workerState(
  { worker, state, leaseMs, inFlight }: WorkerState,
  { kill, holdfast }: Pick<Picture, 'kill' | 'holdfast'>,
): { text: string; tone: Tone } {
  if (worker !== kill?.worker) return survivor(state, leaseMs, holdfast)
  if (!holdfast) return { text: `killed, ${inFlight} jobs stay locked`, tone: 'bad' }
  if (state !== 'alive') {
    return { text: inFlight > 0 ? 'dead, being recovered' : 'dead, its jobs are recovered', tone: 'bad' }
  }
  return leaseMs !== null && leaseMs > 0
    ? { text: `killed, lease ends in ${seconds(leaseMs)}`, tone: 'waiting' }
    : { text: 'killed, lease has ended', tone: 'waiting' }
}

function survivor(
  state: string | null,
  leaseMs: number | null,
  holdfast: boolean,
): { text: string; tone: Tone } {
  if (!holdfast || (state === 'alive' && leaseMs !== null && leaseMs > 0))
    return { text: 'alive', tone: 'good' }
  return state === 'alive'
    ? { text: 'alive, but lease has ended', tone: 'waiting' }
    : { text: 'declared dead', tone: 'bad' }
}

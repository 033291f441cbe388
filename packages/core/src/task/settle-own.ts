import { givenBackOwner } from '../store/tasks.js'
import type { OwnTasks } from './own-tasks.js'
import type { EndWrite } from './state.js'
import type { Task } from './task.js'
import type { TaskWrites } from './task-writes.js'

/**
 * Makes certain what is not, with each heartbeat: asks what became of callers' transactions, and repeats the writes whose
 * answer was lost. What fails is left for the next heartbeat, and keeps nothing else; whoever died in the middle of a write
 * leaves a row that is recovered like any other.
 *
 * @throws the first that failed
 */
export async function settleOwn(
  { processId, tasks, writes }: { processId: string; tasks: OwnTasks; writes: TaskWrites },
  recover: (owner: string) => Promise<void>,
): Promise<void> {
  const doubtful = tasks.in('doubtful')
  const owing = (kind: string) => doubtful.filter(({ owed }) => owed?.kind === kind)
  // One after the other: each is a statement of its own.
  const settleReleases = async (): Promise<void> => {
    let failure: unknown
    for (const task of owing('release')) {
      const write = task.owed as Extract<EndWrite, { kind: 'release' }>
      try {
        await writes.giveBack(task.nonce, write)
        task.certain(write.cause === 'overdue' ? 'overdue' : 'released')
        await recover(givenBackOwner(processId, write.cause))
      } catch (error) {
        failure ??= error
      }
    }
    if (failure !== undefined) throw failure
  }
  const steps = [
    ...tasks.in('undecided').map((task) => writes.ask(task)),
    writes.removeEnded(),
    settleInserts(owing('insert'), writes),
    ...owing('complete').map(async (task) => {
      await writes.delete(task.nonce)
      task.certain('completed')
    }),
    settleReleases(),
  ]
  const results = await Promise.allSettled(steps)
  const failed = results.find((result) => result.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}

async function settleInserts(uncertain: readonly Task[], writes: TaskWrites): Promise<void> {
  if (uncertain.length === 0) return
  const isCertain = await writes.settleInserts(uncertain.map(({ nonce }) => nonce))
  if (isCertain) for (const task of uncertain) task.certain('refused')
}

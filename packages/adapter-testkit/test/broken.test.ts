import { legUrl } from '@holdfast/chaos'
import { describe, expect, it } from 'vitest'
import type { Fault } from './support/broken.js'
import { memoryTests } from './support/memory-queue.js'
import { failuresIn } from './support/run-areas.js'

/** By its fault, an adapter; the area of the kit that it is put through; and the test that is there for this fault. */
const FAULTS: readonly [Fault, string, string][] = [
  [
    'deletes before it enqueues',
    'a repeated recovery',
    'changes nothing while the job waits, and nothing after it has run',
  ],
  [
    'ignores recoveryId',
    'a repeated recovery',
    'changes nothing while the job waits, and nothing after it has run',
  ],
  [
    're-adds a job that still exists',
    'a job that is found (track)',
    'waiting, given back by its queue is alreadyThere',
  ],
  [
    'swallows an error',
    'a queue that can’t be reached',
    'by refused connections keeps the tasks, and it is told',
  ],
  [
    'reorders outcomes',
    'a job that is found (track)',
    'has its own outcome, not that of another in its batch',
  ],
  ['loses fields', 'what comes back (handOff)', 'a job with a priority and attempts comes back as it was'],
  [
    'says that it recovered what it can’t read',
    'a batch with a bad job in it',
    'keeps that one, with what went wrong',
  ],
  [
    'declares atomicRecovery of a queue elsewhere',
    'a recovery that is undone after the adapter has answered',
    'leaves the queue as it was if, and only if, atomicRecovery is declared',
  ],
  [
    'declares a delay and ignores it',
    'a declared capability',
    'delay: a job that shall wait does so in its queue; else its task is kept',
  ],
  ['delays what shall not wait', 'a declared capability', 'delay: a job that shall not wait does not'],
  [
    'declares that ids stay, and gives new ones',
    'a declared capability',
    'preservesJobId: the jobs have their identities still; else they have new ones',
  ],
  [
    'requeues what is quarantined',
    'a job that kills its process (track)',
    'runs no more once it is over maxRecoveries',
  ],
  ['takes jobs when it is told to stop', 'a process that stops (track)', 'takes no more jobs'],
  ['registers nothing', 'a job that runs (track)', 'is active in its queue, and has one task row'],
  [
    'lets a zombie end the run of another',
    'a process that stood still for longer than its lease (track)',
    'can’t end the job, which another runs',
  ],
  [
    'fails a job whose signal aborted',
    'a process that is evicted (track)',
    'works on under a new identity, on that job too',
  ],
  ['loses a failed hand-off', 'a job that runs (handOff)', 'and fails is tried again as its queue has it'],
]

const ENDS = 'a task that its handler ends'
const OPEN = 'in a transaction that is open still keeps its row, and its job runs nowhere else'

/** The same for what becomes of a task that is given to its handler: nothing else fails. */
const OWN_TASK: readonly [Fault, string, string][] = [
  [
    'takes what rolled back for ended',
    `${ENDS} (track)`,
    'in a transaction that rolls back has not ended: its job is tried again',
  ],
  [
    'takes what rolled back for ended',
    `${ENDS} (handOff)`,
    'in a transaction that rolls back has not ended: its job is tried again',
  ],
  [
    'fails what ended by itself, as an end of it rolled back',
    `${ENDS} (track)`,
    'in a transaction that rolls back unnoticed ends as its handler does',
  ],
  [
    'takes a commit that failed for one',
    `${ENDS} (track)`,
    'in a transaction that fails to commit has not ended: its job is tried again',
  ],
  ['ends what a transaction may still end', `${ENDS} (track)`, OPEN],
  [
    'tries again what committed late',
    `${ENDS} (track)`,
    'in a transaction that commits later has ended, whatever its handler did',
  ],
  [
    'takes what rolled back late for ended',
    `${ENDS} (track)`,
    'in a transaction that rolls back later ends as its handler did',
  ],
  [
    'tries again what threw after its commit',
    `${ENDS} (track)`,
    'in a transaction that commits has ended, though its handler then throws',
  ],
  [
    'keeps silent of what was thrown after a commit',
    `${ENDS} (track)`,
    'in a transaction that commits has the error told that its handler then throws',
  ],
  [
    'hides that a second end was refused',
    `${ENDS} (track)`,
    'twice is refused the second end, which changes nothing',
  ],
  [
    'ends a job that was released',
    `${ENDS} (track)`,
    'by release(), returning then, runs once more, beside no other run',
  ],
  [
    'fails a job that was released',
    `${ENDS} (track)`,
    'by release(), throwing then, runs once more, beside no other run',
  ],
  ['keeps the place of what rolled back', `${ENDS} (track)`, 'leaves its place to others'],
  [
    'gives back at a stop what a transaction may still end',
    `${ENDS}, cut off or wrapped (track)`,
    'in a transaction that a stop leaves open has no second run but after its rollback',
  ],
  [
    'ends at a stop what a transaction may still end',
    `${ENDS}, cut off or wrapped (track)`,
    'in a transaction that a stop leaves open has no second run but after its rollback',
  ],
  [
    'registers a wrapped handler’s jobs twice',
    `${ENDS}, cut off or wrapped (track)`,
    'behind a wrapper of its user’s has one row and one run',
  ],
  [
    'has a wrapped suspect wait for itself',
    `${ENDS}, cut off or wrapped (track)`,
    'behind a wrapper of its user’s does not wait for itself as a suspect',
  ],
  [
    'brings back what had committed',
    `${ENDS}, cut off or wrapped (handOff)`,
    'and whose process is killed after the commit has its effects once',
  ],
]

describe('the kit fails an adapter that', () => {
  it.concurrent.each(OWN_TASK)('%s: %s', async (fault, area, test) => {
    const options = { ...memoryTests(fault, { fault }), databases: [legUrl()], patience: 4_000 }
    const failures = await failuresIn(options, [area])
    expect([...failures.keys()], [...failures].join('\n')).toEqual([test])
  })

  it.concurrent.each(FAULTS)('%s', async (fault, area, test) => {
    const options = { ...memoryTests(fault, { fault }), databases: [legUrl()], patience: 15_000 }
    const failures = await failuresIn(options, [area])
    expect([...failures.keys()], [...failures].join('\n')).toContain(test)
  })
})

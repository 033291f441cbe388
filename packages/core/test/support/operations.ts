import fc from 'fast-check'

/** How a process comes to count as dead: its lease runs out, it is fenced already, or nothing is left of its row. */
export type Death = 'expired' | 'dead' | 'gone'

/** One step of one process; `task` picks one of the tasks that were ever registered. */
export type Operation =
  | { readonly kind: 'register'; readonly slot: number; readonly job: number | null }
  | { readonly kind: 'complete'; readonly task: number }
  | { readonly kind: 'completeIn'; readonly task: number; readonly commit: boolean }
  | { readonly kind: 'release'; readonly task: number }
  | { readonly kind: 'heartbeat' | 'progress' | 'remove' | 'sweep' | 'retry'; readonly slot: number }
  | { readonly kind: 'pause' | 'crash'; readonly slot: number; readonly death: Death }

export const SLOTS = 3
const JOBS = 4

const task = fc.nat(30)
const death = fc.constantFrom<Death>('expired', 'dead', 'gone')

function operationOf(slot: fc.Arbitrary<number>): fc.Arbitrary<Operation> {
  const kind = <K extends Operation['kind']>(name: K) => fc.constant(name)
  const job = fc.option(fc.nat(JOBS - 1), { freq: 4 })
  return fc.oneof(
    { weight: 9, arbitrary: fc.record({ kind: kind('register'), slot, job }) },
    { weight: 4, arbitrary: fc.record({ kind: kind('complete'), task }) },
    { weight: 3, arbitrary: fc.record({ kind: kind('completeIn'), task, commit: fc.boolean() }) },
    { weight: 2, arbitrary: fc.record({ kind: kind('release'), task }) },
    { weight: 2, arbitrary: fc.record({ kind: kind('heartbeat'), slot }) },
    { weight: 1, arbitrary: fc.record({ kind: kind('progress'), slot }) },
    { weight: 1, arbitrary: fc.record({ kind: kind('remove'), slot }) },
    { weight: 5, arbitrary: fc.record({ kind: kind('sweep'), slot }) },
    { weight: 1, arbitrary: fc.record({ kind: kind('retry'), slot }) },
    { weight: 2, arbitrary: fc.record({ kind: kind('pause'), slot, death }) },
    { weight: 4, arbitrary: fc.record({ kind: kind('crash'), slot, death }) },
  )
}

/** Operations one after the other, of any process. */
export const operations: fc.Arbitrary<Operation[]> = fc.array(operationOf(fc.nat(SLOTS - 1)), {
  minLength: 5,
  maxLength: 30,
  size: 'max',
})

/** Groups of operations that run at once, one a process; tasks may be anyone's. */
export const concurrentOperations: fc.Arbitrary<Operation[][]> = fc.array(
  fc.tuple(...Array.from({ length: SLOTS }, (_, slot) => operationOf(fc.constant(slot)))),
  { minLength: 5, maxLength: 15, size: 'max' },
)

import type { RegisterOptions } from '@holdfast/core'

/**
 * `guard`: one row stands for all jobs of a worker pool. `track`: each running job has a row of its own. `handOff`: a job
 * has a row of its own, and for graphile-worker it is finished as soon as it has.
 */
export type Mode = 'guard' | 'track' | 'handOff'

/** What becomes of a job whose process died on its last attempt. */
export type ExhaustedPolicy = 'fail' | 'refundOnce'

/** What holds for jobs of any task, and for those of tasks that have a policy of their own. */
export interface ExhaustedPolicies {
  readonly all: ExhaustedPolicy
  readonly tasks: Readonly<Record<string, ExhaustedPolicy>>
}

export const policyOf = ({ all, tasks }: ExhaustedPolicies, identifier: string): ExhaustedPolicy =>
  Object.hasOwn(tasks, identifier) ? tasks[identifier]! : all

export interface TrackOptions extends Pick<RegisterOptions, 'onCrash' | 'maxRuntime' | 'onOverdue'> {}

export interface HandOffOptions extends TrackOptions {
  /** How many jobs of this task this process works on at once; further ones wait, and keep their worker waiting. */
  readonly concurrency: number
}

/** How the jobs of a task are protected. */
export interface TaskOptions extends Partial<HandOffOptions> {
  /** @default 'guard' */
  readonly mode?: Mode
  /**
   * `fail`: the job stands failed, with the reason in its `last_error`. `refundOnce`: it gets its last attempt back, once,
   * and `last_error` says so; also a job that may be tried only once is then begun twice.
   * @default 'fail'
   */
  readonly onExhausted?: ExhaustedPolicy
}

const MODES: readonly unknown[] = ['guard', 'track', 'handOff']
const EXHAUSTED: readonly unknown[] = ['fail', 'refundOnce']
const KNOWN: readonly string[] = ['mode', 'onExhausted', 'concurrency', 'onCrash', 'maxRuntime', 'onOverdue']
const OF_ROWS = ['onCrash', 'maxRuntime', 'onOverdue'] as const

/** What is wrong with the options of a task. */
export function taskProblems(options: unknown, show: (value: unknown) => string): string[] {
  if (typeof options !== 'object' || options === null) return [`must be an object: ${show(options)}`]
  const problems: string[] = []
  const { mode = 'guard', onExhausted = 'fail', concurrency } = options as TaskOptions
  if (!MODES.includes(mode)) problems.push(`mode must be 'guard', 'track' or 'handOff': ${show(mode)}`)
  if (!EXHAUSTED.includes(onExhausted)) {
    problems.push(`onExhausted must be 'fail' or 'refundOnce': ${show(onExhausted)}`)
  }
  if (mode === 'handOff' || concurrency !== undefined) {
    if (!Number.isSafeInteger(concurrency) || concurrency! < 1) {
      problems.push(`concurrency must be a whole number of at least 1: ${show(concurrency)}`)
    } else if (mode !== 'handOff') {
      problems.push(`concurrency is for mode 'handOff' alone: graphile-worker's own limits the others`)
    }
  }
  for (const option of OF_ROWS) {
    if (mode === 'guard' && (options as TaskOptions)[option] !== undefined) {
      problems.push(`${option} is for the modes 'track' and 'handOff': guard has no row for each job`)
    }
  }
  for (const option of Object.keys(options)) {
    if (!KNOWN.includes(option)) problems.push(`${option} is no option of a task`)
  }
  return problems
}

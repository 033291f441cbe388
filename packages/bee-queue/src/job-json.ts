/** A member of a JSON object, as text. */
interface Member {
  readonly key: string
  readonly value: string
}

/** bee-queue's text of a job. */
interface JobText {
  readonly options?: {
    readonly delay?: number
    readonly timestamp?: number
    readonly stacktraces?: readonly unknown[]
  }
}

/**
 * The job as it is to run anew: a delay that is over would leave it among the delayed jobs, where it waits for ever
 * unless some queue activates them. All else stays as it is to the byte: numbers that JavaScript can't hold, the order
 * of keys, options that nobody knows.
 */
export function withoutPastDelay(job: string, now: number = Date.now()): string {
  const delay = (JSON.parse(job) as JobText).options?.delay
  if (typeof delay !== 'number' || delay > now) return job
  return editObject(job, {
    options: (options) => joinMembers(membersOf(options).filter(({ key }) => key !== 'delay')),
  })
}

/** The job as one that has failed for `reason`; its retries are as they were. */
export function failedJob(job: string, reason: string): string {
  return editObject(job, {
    options: (options) =>
      editObject(options, {
        stacktraces: (traces) =>
          `[${[JSON.stringify(reason), traces.slice(1, -1)].filter(Boolean).join(',')}]`,
      }),
    status: () => '"failed"',
  })
}

function editObject(object: string, edits: Readonly<Record<string, (value: string) => string>>): string {
  return joinMembers(
    membersOf(object).map(({ key, value }) => ({ key, value: edits[key]?.(value) ?? value })),
  )
}

const joinMembers = (members: readonly Member[]): string =>
  `{${members.map(({ key, value }) => `${JSON.stringify(key)}:${value}`).join(',')}}`

/** Strings, brackets and what parts members; anything else in between is part of a value. */
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:,]/gs

/** The members of a valid JSON object, values byte for byte. */
function membersOf(object: string): Member[] {
  const members: Member[] = []
  let depth = 0
  let key = ''
  let start = 0
  for (const { 0: token, index } of object.matchAll(TOKENS)) {
    if (token === '{' || token === '[') depth += 1
    else if (token === '}' || token === ']') depth -= 1
    else if (depth === 1 && token === ':') start = index + 1
    else if (depth === 1 && start === 0 && token[0] === '"') key = JSON.parse(token)
    const over = (depth === 1 && token === ',') || depth === 0
    if (!over || start === 0) continue
    members.push({ key, value: object.slice(start, index).trim() })
    start = 0
  }
  return members
}

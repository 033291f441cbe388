/** A file of tests in a project. */
export interface Timed {
  readonly project: string
  readonly file: string
  /** As last measured. */
  readonly seconds?: number | undefined
}

/** Seconds of a file that was not measured yet. */
const UNKNOWN = 15

/** Seconds below which a file's place doesn't matter: these go project by project, which saves starting processes. */
const SHORT = 30

const secondsOf = ({ seconds = UNKNOWN }: Timed): number => seconds
const nameOf = ({ project, file }: Timed): string => `${project} ${file}`
const weightOf = (one: Timed): number => (secondsOf(one) < SHORT ? 0 : secondsOf(one))

/** The longest first, so that none is waited for at the end. The same whatever order they come in. */
export const longestFirst = <T extends Timed>(all: readonly T[]): T[] =>
  [...all].sort((a, b) => weightOf(b) - weightOf(a) || (nameOf(a) < nameOf(b) ? -1 : 1))

/** So many parts that take about equally long: each file, the longest first, goes to the part that is shortest so far. */
export function inParts<T extends Timed>(all: readonly T[], count: number): T[][] {
  const parts = Array.from({ length: count }, () => ({ seconds: 0, files: [] as T[] }))
  for (const one of longestFirst(all)) {
    const shortest = parts.reduce((least, part) => (part.seconds < least.seconds ? part : least))
    shortest.seconds += secondsOf(one)
    shortest.files.push(one)
  }
  return parts.map(({ files }) => files)
}

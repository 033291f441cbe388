import { Command, InvalidArgumentError } from 'commander'
import { GRAPHILE_LOCK_HOURS, MAX_JOBS, MIN_JOBS } from './settings.js'

export interface DemoOptions {
  readonly jobs: number
  readonly json: boolean
  readonly withoutHoldfast: boolean
}

/** A flag that is not given is absent. */
type Given = Pick<DemoOptions, 'jobs'> & Partial<DemoOptions>

export const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const

const EPILOGUE = `
Three worker processes, a slow HTTP server and a Postgres are started. One worker
is killed while it holds at least 30 jobs (a tenth of --jobs, where that is less).
All numbers come from the database: from a ledger that the jobs write, and from
the tables of Holdfast and graphile-worker. With HOLDFAST_POSTGRES_URL set, that
server is used, with a new database that is dropped at the end.

Exit codes:
  ${EXIT.ok}    no job was lost, recovered twice or finished twice; with
       --without-holdfast: the dead worker's jobs stayed locked, as that shows
  ${EXIT.failed}    it was not so, or the demo could not be run
  ${EXIT.usage}    the arguments make no sense
  ${EXIT.interrupted}  interrupted; everything was cleaned up
`

/** @throws CommanderError, also for --help */
export function parseOptions(argv: readonly string[]): DemoOptions {
  const program = new Command('demo')
    .description(
      'Kills a graphile-worker process with jobs in flight and shows how Holdfast brings them back.',
    )
    .option('--jobs <n>', 'how many jobs, half of them guard and half hand-off', parseJobs, 300)
    .option('--json', 'one line of JSON on stdout, everything else on stderr')
    .option(
      '--without-holdfast',
      `plain graphile-worker: the killed worker's jobs stay locked, for ${GRAPHILE_LOCK_HOURS} hours`,
    )
    .addHelpText('after', EPILOGUE)
    .exitOverride()
    .parse(argv)
  const { jobs, json = false, withoutHoldfast = false } = program.opts<Given>()
  return { jobs, json, withoutHoldfast }
}

function parseJobs(text: string): number {
  const jobs = Number(text)
  if (/^\d+$/.test(text) && jobs >= MIN_JOBS && jobs <= MAX_JOBS) return jobs
  throw new InvalidArgumentError(`It must be a whole number from ${MIN_JOBS} to ${MAX_JOBS}.`)
}

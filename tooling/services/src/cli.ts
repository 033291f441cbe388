#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { EXIT } from './cli/exit-codes.js'
import { runWithServices } from './cli/run.js'
import { keepUp } from './cli/up.js'
import { ServiceError } from './errors.js'
import type { StartOptions } from './types.js'

// What follows the first -- is the command to run, with options of its own.
const separator = process.argv.indexOf('--', 2)
const own = separator < 0 ? process.argv : process.argv.slice(0, separator)
const command = separator < 0 ? [] : process.argv.slice(separator + 1)

const SERVICES = 'postgres, postgres@<major>, pgbouncer, mariadb, mysql, redis'

const program = new Command('services')
  .description(
    'Starts private servers on free ports, without Docker, and removes them and their data at the end.',
  )
  .exitOverride()
  .configureHelp({ showGlobalOptions: true })
  .option('--private', 'start a server even where a HOLDFAST_*_URL variable names one')
  .option('--durable', 'write to disk as a production server would (slower)')
  .addHelpText(
    'after',
    `
Services: ${SERVICES}

Examples:
  pnpm services up postgres redis
  pnpm services run postgres@14 -- pnpm vitest run

Exit codes:
  ${EXIT.usage}    the arguments make no sense
  ${EXIT.unavailable}   a service is not available or did not start
  ${EXIT.cannotRun}  the command of 'run' cannot be started; otherwise its own exit code, or 128 + the signal's number
`,
  )

program
  .command('up')
  .description('keep services up until Ctrl-C, and print their URLs')
  .argument('<services...>', SERVICES)
  .option('--json', 'print the URLs as one line of JSON')
  .action((names: string[], options: { json?: boolean }) =>
    keepUp(names, startOptions(), options.json ?? false),
  )

program
  .command('run')
  .description('run a command with the URLs in its environment, and exit as it does')
  .usage('[options] <services...> -- <command...>')
  .argument('<services...>', SERVICES)
  .action(async (names: string[]) => {
    if (command.length === 0)
      program.error('error: name the command after --, as in: run postgres -- pnpm test')
    process.exitCode = await runWithServices(names, startOptions(), command)
  })

function startOptions(): StartOptions {
  return program.opts<{ private?: boolean; durable?: boolean }>()
}

try {
  await program.parseAsync(own)
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT.usage
  else if (error instanceof ServiceError) {
    console.error(`services: ${error.message}`)
    process.exitCode = error.code === 'SERVICE_UNKNOWN' ? EXIT.usage : EXIT.unavailable
  } else throw error
}

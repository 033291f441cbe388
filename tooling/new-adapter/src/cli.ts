#!/usr/bin/env node
// pnpm new:adapter <name>: makes packages/<name> from the template.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, CommanderError } from 'commander'
import { makePackage, NewAdapterError } from './make-package.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))

const program = new Command('new:adapter')
  .description(
    'Makes the package of a new adapter, packages/<name>: it compiles, and its conformance tests fail.',
  )
  .argument('<name>', 'of the queue, as its npm package is named: bullmq, pg-boss')
  .option('--no-install', 'do not link it into the workspace')
  .exitOverride()
  .addHelpText('after', '\nExit codes:\n  1  the package could not be made\n  2  the arguments make no sense')
  .action((name: string, { install }: { install: boolean }) => {
    const files = makePackage(root, name)
    console.log(`packages/${name}:\n${files.map((file) => `  ${file}`).join('\n')}`)
    if (install) {
      const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
      execFileSync('npx', ['--yes', packageManager, 'install', '--no-frozen-lockfile'], {
        cwd: root,
        stdio: 'inherit',
      })
    }
    console.log(
      [
        '\nNext:',
        `  1. ${join('packages', name, 'src/queue.ts')}: what the adapter needs of the queue`,
        `  2. ${join('packages', name, 'test/support/kit-queue.ts')}: how the tests read the queue`,
        `  3. npm test -- packages/${name}   # fails until the adapter is written`,
        'The guide: docs/writing-an-adapter.md',
      ].join('\n'),
    )
  })

try {
  program.parse()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else if (error instanceof NewAdapterError) {
    console.error(`new:adapter: ${error.message}`)
    process.exitCode = error.isUsage ? 2 : 1
  } else throw error
}

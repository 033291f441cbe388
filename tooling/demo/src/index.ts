import { CommanderError } from 'commander'
import { type DemoOptions, EXIT, parseOptions } from './cli.js'
import { runDemo } from './demo.js'
import { Interrupted } from './interrupted.js'
import { wrap } from './result/words.js'
import { colorsFor } from './ui/colors.js'
import { openView } from './ui/view.js'

process.exitCode = await main()

async function main(): Promise<number> {
  let options: DemoOptions
  try {
    options = parseOptions(process.argv)
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  }
  return demo(options)
}

async function demo(options: DemoOptions): Promise<number> {
  const people = options.json ? process.stderr : process.stdout
  const view = openView(people)
  const stopping = new AbortController()
  // A reader that has gone away, as in `npm run demo | head`, ends the demo, but not without cleaning up.
  people.on('error', (error) => stopping.abort(error))
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      // Who asks twice doesn't want to wait; the children notice that this process is gone, and go too.
      if (stopping.signal.aborted) process.exit(EXIT.interrupted)
      stopping.abort(new Interrupted(name))
      view.event(`${name}: ending the workers, the server and Postgres`)
    })
  }
  try {
    const { ok, headline, summary, complaints, json } = await runDemo(options, view, stopping.signal)
    const colors = colorsFor(people, process.env)
    const paint = ok ? colors.green : colors.red
    people.write(`\n${paint(colors.bold(wrap(headline).join('\n')))}\n\n${summary.join('\n')}\n`)
    if (complaints !== '') people.write(`\n${complaints}`)
    if (options.json) process.stdout.write(`${JSON.stringify(json)}\n`)
    return ok ? EXIT.ok : EXIT.failed
  } catch (error) {
    view.close()
    if (stopping.signal.aborted) return EXIT.interrupted
    const message = error instanceof Error ? error.message : String(error)
    people.write(`\nThe demo could not be run: ${message}\n`)
    if (options.json) process.stdout.write(`${JSON.stringify({ ok: false, error: message })}\n`)
    return EXIT.failed
  }
}

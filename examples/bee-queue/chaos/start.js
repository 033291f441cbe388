import { Child, until } from '@holdfast/chaos'

const place = (name) => new URL(`../${name}`, import.meta.url).pathname

/** Starts a file of this example as a process. */
export const start = (name, env) =>
  new Child(place(name), { env, execArgv: ['--import', new URL('./leash.js', import.meta.url).href] })

/** Starts one that listens, and waits for its address. */
export async function startServer(name, env) {
  const child = start(name, { PORT: '0', ...env })
  const url = await until(
    () => {
      if (child.process.exitCode !== null) throw new Error(`${name} ended:\n${child.output}`)
      return /http:\S+/.exec(child.output)?.[0]
    },
    { what: `${name} listens` },
  )
  return { child, url }
}

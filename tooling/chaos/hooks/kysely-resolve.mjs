let alias

export function initialize({ version }) {
  alias = `kysely-${version}`
}

/** Also for files of Kysely named by path, which is how vitest loads a dependency. */
export function resolve(specifier, context, next) {
  const isKysely =
    specifier === 'kysely' || /\/node_modules\/kysely\/dist\/(esm\/)?index\.js$/.test(specifier)
  return isKysely ? next(alias, { ...context, parentURL: import.meta.url }) : next(specifier, context)
}

package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// oneDatabase is why an extension that lives in one database of its server
// cannot be staged in another beside it, and what to do.
const oneDatabase = "can be in one database of a server alone (cron.database_name), so no copy of this one can be restored beside it: " +
	"set cron.database_name to another database, such as postgres, make the extension there, schedule with cron.schedule_in_database, and drop it here"

// preloaders are extensions that cannot be made, or not be restored, unless the
// server loads their library at its start.
var preloaders = []string{"citus", "pg_cron", "pg_squeeze", "pgaudit", "pglogical", "timescaledb"}

// acceptExtensions fails unless the server can have the dump's extensions.
func acceptExtensions(ctx context.Context, conn *pgx.Conn, facts Facts) error {
	if _, there := facts.Extensions["pg_cron"]; there {
		return fmt.Errorf("extension pg_cron %s", oneDatabase)
	}
	var available, loaded []string
	err := conn.QueryRow(ctx, `SELECT ARRAY(SELECT name::text FROM pg_catalog.pg_available_extensions), `+preloadedLibraries).Scan(&available, &loaded)
	if err != nil {
		return fmt.Errorf("list extensions: %w", err)
	}
	var missing, unloaded []string
	for _, name := range slices.Sorted(maps.Keys(facts.Extensions)) {
		if !slices.Contains(available, name) {
			missing = append(missing, fmt.Sprintf("%s %s", name, facts.Extensions[name]))
		} else if len(loaded) > 0 && slices.Contains(preloaders, name) && !slices.Contains(loaded, name) {
			unloaded = append(unloaded, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the database needs extensions that the server here does not have (%s): install their packages on the server's host", strings.Join(missing, ", "))
	}
	if len(unloaded) > 0 {
		return fmt.Errorf("extensions that the database needs must be in shared_preload_libraries of the server here (%s): add them and restart it", strings.Join(unloaded, ", "))
	}
	return nil
}

// checkExtensions fails when the database could not be restored beside itself.
func checkExtensions(ctx context.Context, conn *pgx.Conn) error {
	var cron bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_cron')").Scan(&cron); err != nil {
		return fmt.Errorf("list extensions: %w", err)
	}
	if cron {
		return fmt.Errorf("extension pg_cron %s", oneDatabase)
	}
	return nil
}

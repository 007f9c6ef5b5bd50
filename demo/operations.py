"""What people do in the shop: each function is one transaction of the workload.

A function gets the workload, in an open transaction, and says whether it found something to do.
Together they change all tables in every way a table can change.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo.workload import Workload


def register_customer(load: Workload) -> bool:
    """A customer with one address."""
    country = load.random.choice(["DE", "FR", "GB", "IT", "PL", "CH"])
    attributes = json.dumps({"language": country.lower(), "consent": {"mail": True}})
    customer_id = load.sql(
        "insert into customers (email, name, country_code, tags, attributes)"
        " values (:email, :name, :country, '{new}', cast(:attributes as jsonb)) returning id",
        email=f"new.{load.random.getrandbits(40):x}@example.com",
        name=load.random.choice(["Ada Lovelace", "Émile Zola", "Grace O'Hopper", "Søren K."]),
        country=country,
        attributes=attributes,
    )[0][0]
    load.sql(
        "insert into addresses values"
        " (cast(:id as uuid), :customer, 'billing', 'Neue Straße 1', 'Köln', '50667', :country, true)",
        id=str(uuid.uuid4()),
        customer=customer_id,
        country=country,
    )
    return True


def update_customer(load: Workload) -> bool:
    """Other tags and attributes."""
    customer = load.any_of("customers")
    if customer is None:
        return False
    load.sql(
        "update customers set tags = case when 'vip' = any(tags) then array_remove(tags, 'vip')"
        " else tags || 'vip'::text end,"
        " attributes = coalesce(attributes, '{}') || jsonb_build_object('score', :score::numeric),"
        " updated_at = now() where id = :id",
        id=customer[0],
        score=str(load.random.randint(0, 99_999) / 1000),
    )
    return True


def merge_customers(load: Workload) -> bool:
    """One customer's orders and addresses go to another; the row stays, with status `merged`."""
    source = load.any_of("customers", where="status = 'active'")
    target = load.any_of("customers", where="status = 'active'")
    if source is None or target is None or source == target:
        return False
    values = {"source": source[0], "target": target[0]}
    load.sql(
        "update orders set customer_id = :target, updated_at = now() where customer_id = :source",
        **values,
    )
    load.sql(
        "update addresses set customer_id = :target, is_default = false where customer_id = :source",
        **values,
    )
    load.sql(
        "update customers set status = 'merged', merged_into_id = :target, updated_at = now()"
        " where id = :source",
        **values,
    )
    return True


def delete_customer(load: Workload) -> bool:
    """A customer without orders is deleted; the addresses go with it, the views are made nameless."""
    free = (
        "not exists (select from orders where customer_id = customers.id) and not exists"
        " (select from customers as other where other.merged_into_id = customers.id)"
    )
    customer = load.any_of("customers", where=free)
    if customer is None:
        return False
    load.sql(
        "update page_views set customer_id = null, client_address = null where customer_id = :id",
        id=customer[0],
    )
    load.sql("delete from customers where id = :id", id=customer[0])
    return True


def place_order(load: Workload) -> bool:
    """An order with one to four lines, not paid yet."""
    customer = load.any_of("customers", "id, country_code", "status = 'active'")
    products = [load.any_of("products", "id, price", "is_active") for _ in range(3)]
    if customer is None or None in products:
        return False
    lines = [
        (product[0], load.random.randint(1, 4), product[1])
        for product in products[: load.random.randint(1, 3)]
        if product is not None
    ]
    shipping = {"method": load.random.choice(["standard", "express", "pickup"]), "gift": False}
    order_id = load.sql(
        "insert into orders (customer_id, currency, country_code, total_amount, shipping, note)"
        " select :customer, currency, code, :total, cast(:shipping as jsonb), :note"
        " from countries where code = :country returning id",
        customer=customer[0],
        country=customer[1],
        total=sum(quantity * price for _, quantity, price in lines),
        shipping=json.dumps(shipping),
        note=load.random.choice([None, None, "Please ring", "weiß & 'quoted'"]),
    )[0][0]
    for number, (product_id, quantity, price) in enumerate(lines, 1):
        load.sql(
            "insert into order_items (order_id, line_number, product_id, quantity, unit_price)"
            " values (:order, :number, :product, :quantity, :price)",
            order=order_id,
            number=number,
            product=product_id,
            quantity=quantity,
            price=price,
        )
    return True


def _advance(load: Workload, where: str, assignments: str) -> int | None:
    order = load.newest_of(where)
    if order is None:
        return None
    load.sql(f"update orders set {assignments}, updated_at = now() where id = :id", id=order[0])
    return int(order[0])


def pay_order(load: Workload) -> bool:
    """An order is paid; the provider's ledger gets the payment in the same transaction."""
    return _advance(load, "status = 'placed'", "status = 'paid', paid_at = now()") is not None


def ship_order(load: Workload) -> bool:
    """A paid order leaves the house, and the goods leave the stock."""
    order_id = _advance(load, "status = 'paid'", "status = 'shipped'")
    if order_id is None:
        return False
    load.sql(
        "insert into shipments values (cast(:id as uuid), :order, 'DHL', :tracking, now())",
        id=str(uuid.uuid4()),
        order=order_id,
        tracking=f"{load.random.getrandbits(56):014X}",
    )
    load.sql(
        "insert into stock_movements (moved_at, product_id, warehouse_code, quantity)"
        " select now(), product_id, 'BER-1', -quantity from order_items where order_id = :order",
        order=order_id,
    )
    return True


def deliver_order(load: Workload) -> bool:
    """A shipped order arrives."""
    order_id = _advance(load, "status = 'shipped'", "status = 'delivered'")
    if order_id is None:
        return False
    load.sql(
        "update shipments set delivered_at = now(), transit = now() - shipped_at where order_id = :order",
        order=order_id,
    )
    return True


def cancel_order(load: Workload) -> bool:
    """An order is cancelled; if it was paid, the money goes back."""
    changes = "status = 'cancelled', cancelled_at = now()"
    return _advance(load, "status in ('placed', 'paid')", changes) is not None


def return_item(load: Workload) -> bool:
    """One piece of a delivered order comes back, and so does its money."""
    order = load.newest_of(
        "status = 'delivered' and not exists (select from returns where order_id = orders.id)"
    )
    if order is None:
        return False
    load.sql(
        "insert into returns (order_id, line_number, quantity, reason, returned_on)"
        " select order_id, min(line_number), 1, 'changed my mind', current_date"
        " from order_items where order_id = :order group by order_id",
        order=order[0],
    )
    return True


def renumber_lines(load: Workload) -> bool:
    """The lines of an order get other numbers: the key of rows changes."""
    order = load.any_of("orders")
    if order is None:
        return False
    load.sql(
        "update order_items set line_number = line_number + 10 where order_id = :order",
        order=order[0],
    )
    return True


def change_price(load: Workload) -> bool:
    """A product costs more or less from now on."""
    product = load.any_of("products", "id, price")
    if product is None:
        return False
    changed = load.sql(
        "update products set price = round(price * :factor::numeric, 2) + 0.01, updated_at = now()"
        " where id = :id returning price",
        id=product[0],
        factor=str(load.random.choice([0.9, 0.95, 1.05, 1.1])),
    )
    load.sql(
        "insert into price_changes (product_id, old_price, new_price) values (:id, :old, :new)",
        id=product[0],
        old=product[1],
        new=changed[0][0],
    )
    return True


def add_product(load: Workload) -> bool:
    """A new product, with a long description."""
    load.sql(
        "insert into products (sku, name, category_id, description, price, cost, weight_kg)"
        " values (:sku, 'New thing', 9, :description, 19.99, 8.5, 0.1)",
        sku=f"NEW-{uuid.uuid4()}",
        description=" ".join(f"{load.random.getrandbits(64):x}" for _ in range(200)),
    )
    return True


def edit_product(load: Workload) -> bool:
    """A product is switched on or off, its long description stays; one in ten gets another one."""
    product = load.any_of("products")
    if product is None:
        return False
    rewrite = load.random.random() < 0.1
    load.sql(
        "update products set is_active = not is_active, updated_at = now()"
        + (", description = reverse(description)" if rewrite else "")
        + " where id = :id",
        id=product[0],
    )
    return True


def move_stock(load: Workload) -> bool:
    """Goods come in."""
    product = load.any_of("products")
    if product is None:
        return False
    load.sql(
        "insert into stock_movements (moved_at, product_id, warehouse_code, quantity)"
        " values (now(), :product, 'LYO-1', :quantity)",
        product=product[0],
        quantity=load.random.randint(10, 500),
    )
    return True


def correct_stock(load: Workload) -> bool:
    """A movement is dated half a year back: its key changes and it moves to another partition."""
    movement = load.any_of("stock_movements")
    if movement is None:
        return False
    load.sql(
        "update stock_movements set moved_at = moved_at - interval '6 months' where id = :id",
        id=movement[0],
    )
    return True


def view_pages(load: Workload) -> bool:
    """A visit: one to five page views."""
    load.sql(
        "insert into page_views select clock_timestamp(), :customer::bigint, :product + n,"
        " '/products/', cast(:address as inet) from generate_series(1, :views::integer) as n",
        customer=load.random.choice([None, load.random.randint(1, 12_000)]),
        product=load.random.randint(1, 1_000),
        address=f"10.0.{load.random.randint(0, 255)}.{load.random.randint(0, 255)}",
        views=load.random.randint(1, 5),
    )
    return True


def forget_views(load: Workload) -> bool:
    """Everything one visitor has seen is deleted: rows without a key go away."""
    customer_id = load.random.randint(1, 12_000)
    deleted = load.sql("delete from page_views where customer_id = :id returning customer_id", id=customer_id)
    return bool(deleted)


def change_vat_rate(load: Workload) -> bool:
    """A country changes its tax."""
    load.sql(
        "update countries set vat_rate = 0.2600 - vat_rate where code = :code",
        code=load.random.choice(["CH", "DK", "SE"]),
    )
    return True


def rename_category(load: Workload) -> bool:
    """A category gets another name."""
    load.sql(
        "update categories set name = case when name like '% (new)' then replace(name, ' (new)', '')"
        " else name || ' (new)' end where id = :id",
        id=load.random.randint(9, 40),
    )
    return True


OPERATIONS: dict[str, tuple[float, Callable[[Workload], bool]]] = {
    operation.__name__: (weight, operation)
    for weight, operation in (
        (30.0, view_pages),
        (20.0, place_order),
        (16.0, pay_order),
        (12.0, ship_order),
        (10.0, deliver_order),
        (6.0, move_stock),
        (4.0, change_price),
        (4.0, register_customer),
        (3.0, update_customer),
        (3.0, cancel_order),
        (2.0, return_item),
        (2.0, edit_product),
        (1.0, merge_customers),
        (1.0, delete_customer),
        (1.0, renumber_lines),
        (1.0, correct_stock),
        (1.0, forget_views),
        (0.5, add_product),
        (0.3, rename_category),
        (0.2, change_vat_rate),
    )
}
"""By name: how often, relative to the others, and what is done."""
